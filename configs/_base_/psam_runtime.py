_base_ = 'mmpretrain::_base_/default_runtime.py'
default_hooks = dict(
    logger=dict(interval=20),
    # "checkpoint evaluated on the validation data", "measured on the categorical
    # cross-entropy loss", Sec. 3.1
    checkpoint=dict(interval=1, max_keep_ckpts=1, save_best='binary/nll', rule='less'),
)
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'),
    dict(type='mmlesion.NonFiniteLossHook'),
]
randomness = dict(seed=0)
val_evaluator = dict(type='mmlesion.BinaryClassificationMetric', case_keys=('img_id',))
test_evaluator = val_evaluator
# Columns of tools/results_table.py: Table 2 and Secs. 3.1 and 3.3.
table = {
    'precision': 'binary/precision',
    'recall': 'binary/sensitivity',
    'F1': 'binary/f1',
}
