# PN-SAMP on D_11C: Wu et al., ISBI 2018, arXiv 1802.03584, as a row of Lei et al.,
# arXiv 1810.12494, Table 1. Only the abstract of Wu et al. was available. It states
# the three tasks of the U-Net and the mixed windows; all numbers are ours.
_base_ = [
    '../_base_/models/nodule_classifier.py',
    '../_base_/datasets/lidc_nodules.py',
    '../_base_/schedules/lidc.py',
    '../_base_/lidc_runtime.py',
]
# "mixes multiple WW/WC": window of the other rows, lung, soft tissue
mix = dict(
    type='mmlesion.MixWindowsHU', windows=[(-1000, 400), (-1350, 150), (-160, 240)]
)
pack = dict(_base_.pack, algorithm_keys=('attributes',))
train_pipeline = [
    _base_.load,
    # before mixing, when the channels are still the slices in order
    dict(type='mmlesion.RandomSymmetry', flip_slices=True),
    mix,
    pack,
]
test_pipeline = [_base_.load, mix, pack]
model = dict(
    backbone=dict(type='mmlesion.UNet', in_channels=33),
    head=dict(
        type='mmlesion.JointNoduleHead',
        num_classes=2,
        in_channels=32,
        code_channels=256,
        num_planes=11,
    ),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
# Segmentation of the middle slice; Dice and IoU of the mask at 0.5.
test_evaluator = [
    _base_.val_evaluator,
    dict(
        type='mmlesion.ActivationMapMetric',
        map_key='pred_mask',
        mask_key='mask',
        prefix='segmentation',
    ),
]
