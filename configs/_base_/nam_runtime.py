_base_ = 'mmpretrain::_base_/default_runtime.py'
default_hooks = dict(
    logger=dict(interval=20),
    # settings were chosen "based on classification accuracy on the validation set"
    checkpoint=dict(interval=1, max_keep_ckpts=1, save_best='binary/accuracy'),
)
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'),
    dict(type='mmlesion.NonFiniteLossHook'),
    dict(type='mmlesion.MapShiftHook'),
    dict(type='mmlesion.NoduleFigureHook'),
]
randomness = dict(seed=0)
val_evaluator = dict(
    type='mmlesion.BinaryClassificationMetric',
    case_keys=('img_id',),
    # 1 minus the FPR of Table 1: the threshold at which networks are comparable
    target_specificity=0.89,
)
# Table 1; each experiment adds the rows of the paper. The rows for slices of any
# class, and for segmentations without a network, are ours.
test_evaluator = [
    val_evaluator,
    dict(
        type='mmlesion.NoduleSegmentationMetric',
        mask_keys=('coarse_mask', 'fine_mask', 'any_coarse_mask', 'any_fine_mask'),
        chance_keys=('middle_disc_mask', 'random_disc_mask', 'whole_image_mask'),
        num_resamples=1000,
    ),
]
