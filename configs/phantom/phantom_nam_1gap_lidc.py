# Smaller version of configs/nam/nam_1gap_lidc_crops.py for whole slices of 160 x 160
# pixels of 300 generated patients (commands in data/README.md). All numbers here
# are ours.
_base_ = '../nam/nam_1gap_lidc_crops.py'
data_root = 'data/phantom/LIDC-slices/'
pipeline = [
    _base_.train_pipeline[0],
    _base_.window,
    dict(type='mmlesion.RandomSymmetry', flip_slices=False),
    _base_.pack,
]
train_dataloader = dict(
    batch_size=16, dataset=dict(data_root=data_root, pipeline=pipeline)
)
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
small = dict(width=8, branch_channels=64)
model = dict(
    num_nodules=2,
    # Validation slices: both of two nodules in 108 (0), 101 (0.3), 95 (0.4) and 90 (0.5)
    # of 127 positive slices, a false second mask in 0.80, 0.17, 0.12 and 0.09 of the
    # other positive slices.
    next_thr=0.3,
    level=0.3,
    classifier=dict(backbone=small, head=dict(in_channels=[64])),
)
train_cfg = dict(max_epochs=9, val_interval=3)
optim_wrapper = dict(optimizer=dict(weight_decay=0.02))
# The paper's results were measured on other data.
test_evaluator = [
    *_base_.test_evaluator[:1],
    dict(
        type='mmlesion.NoduleSegmentationMetric',
        mask_keys=_base_.test_evaluator[1].mask_keys,
        chance_keys=_base_.test_evaluator[1].chance_keys,
        num_resamples=_base_.test_evaluator[1].num_resamples,
    ),
]
scan_slices = dict(size=160, zoom=1)
