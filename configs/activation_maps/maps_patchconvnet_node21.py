# PatchConvNet: Behrendt et al., Quantitative evaluation of activation maps, Table 1.
# The paper does not state its size; S60 is ours.
_base_ = [
    '../_base_/datasets/node21.py',
    '../_base_/schedules/node21.py',
    '../_base_/node21_attention_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmlesion.PatchConvNet',
        arch='s60',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/deit/s60_224_1k.pth',
        ),
    ),
    neck=None,
    head=dict(type='LinearClsHead', num_classes=2, in_channels=384),
)
train_dataloader = dict(batch_size=16)  # Sec. 2.2
optim_wrapper = dict(optimizer=dict(lr=1e-6))  # Sec. 2.2
custom_hooks = [
    *_base_.custom_hooks,
    dict(**_base_.gradcam, layers='backbone.blocks.59'),
]
