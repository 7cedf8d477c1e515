_base_ = 'mmpretrain::_base_/default_runtime.py'
default_hooks = dict(
    logger=dict(interval=20),
    # settings were chosen "based on classification accuracy on the validation set"
    checkpoint=dict(interval=1, max_keep_ckpts=1, save_best='binary/accuracy'),
)
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'),
    dict(type='mmlesion.NonFiniteLossHook'),
    dict(type='mmlesion.NoduleFigureHook'),
]
randomness = dict(seed=0)
val_evaluator = dict(type='mmlesion.BinaryClassificationMetric', case_keys=('img_id',))
# Table 1; each experiment adds the paper's rows of its own
test_evaluator = [val_evaluator, dict(type='mmlesion.NoduleSegmentationMetric')]
