# configs/maps_patchconvnet_node21.py shrunk to the generated data. All numbers here
# are ours.
_base_ = ['../_base_/datasets/node21_phantom.py',
          '../_base_/schedules/node21_phantom.py',
          '../_base_/node21_attention_runtime.py']
model = dict(
    backbone=dict(
        type='mmlesion.PatchConvNet',
        arch=dict(embed_dims=64, depth=2, init_scale=0.1),
        in_channels=1),
    neck=None,
    head=dict(type='LinearClsHead', num_classes=2, in_channels=64))
custom_hooks = [
    *_base_.custom_hooks,
    dict(**_base_.gradcam, layers='backbone.blocks.1')
]
