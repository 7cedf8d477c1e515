# configs/maps_densenet121_node21.py shrunk to the generated data. All numbers here are
# ours.
_base_ = [
    '../_base_/datasets/node21_phantom.py',
    '../_base_/schedules/node21_phantom.py',
    '../_base_/node21_runtime.py',
]
model = dict(
    backbone=dict(
        type='DenseNet',
        arch=dict(growth_rate=12, depths=[2, 2, 2], init_channels=16),
        in_channels=1,
    ),
    # Closer to the maximum than to the mean: a nodule is in one or two of 16 cells.
    neck=dict(type='GeneralizedMeanPooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=46),
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(**_base_.gradcam, layers='backbone.transitions.2'),
]
