# configs/activation_maps/maps_patchconvnet_node21.py shrunk to the generated data. All
# numbers here are ours.
_base_ = [
    '../_base_/datasets/node21_phantom.py',
    '../_base_/schedules/node21_phantom.py',
    '../_base_/node21_attention_runtime.py',
]
# Patches are 16 pixels wide, so images of twice the size give the same number. Without
# smoothing, the network learned the noise of the training images.
load = [
    dict(type='mmlesion.LoadRadiograph', channels=1),
    dict(type='Resize', scale=(128, 128), interpolation='area'),
    dict(type='mmlesion.SubtractBackground', sigma_px=6, smooth_px=1.2),
]
train_pipeline = [
    *load,
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCrop', crop_size=128, padding=8, padding_mode='edge'),
    _base_.pack,
]
pipeline = [*load, _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
model = dict(
    backbone=dict(
        type='mmlesion.PatchConvNet',
        arch=dict(embed_dims=64, depth=2, init_scale=1.0),
        in_channels=1,
        stem_norm_cfg=dict(type='BN'),
        init_cfg=[
            dict(type='Xavier', layer='Linear'),
            dict(type='Kaiming', layer='Conv2d'),
        ],
    ),
    neck=None,
    head=dict(type='LinearClsHead', num_classes=2, in_channels=64),
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))  # as in maps_deit_node21.py
train_cfg = dict(max_epochs=50, val_interval=5)
custom_hooks = [
    *_base_.custom_hooks,
    dict(**_base_.gradcam, layers='backbone.blocks.1'),
]
