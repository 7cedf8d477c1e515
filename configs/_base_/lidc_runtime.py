_base_ = 'mmpretrain::_base_/default_runtime.py'
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(interval=1, max_keep_ckpts=1)
)
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'),
    dict(type='mmlesion.NonFiniteLossHook'),
]
randomness = dict(seed=0)
val_evaluator = dict(type='mmlesion.BinaryClassificationMetric')
test_evaluator = val_evaluator
# Columns of tools/results_table.py: Lei et al., arXiv 1810.12494, Table 1, and AUC.
table = {
    'accuracy': 'binary/accuracy',
    'sensitivity': 'binary/sensitivity',
    'specificity': 'binary/specificity',
    'AUC': 'binary/auc',
}
