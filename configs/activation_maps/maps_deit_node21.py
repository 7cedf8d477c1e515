# DeiT: Behrendt et al., Quantitative evaluation of activation maps, Table 1. The paper
# states neither its size (ours: small) nor a distillation token (ours: none).
_base_ = [
    '../_base_/datasets/node21.py',
    '../_base_/schedules/node21.py',
    '../_base_/node21_attention_runtime.py',
]
model = dict(
    backbone=dict(
        type='VisionTransformer',
        arch='deit-small',
        img_size=224,
        patch_size=16,
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone',
            checkpoint='https://mmassets.onedl.ai/mmclassification/v0/deit/'
            'deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth',
        ),
    ),
    neck=None,
    head=dict(type='VisionTransformerClsHead', num_classes=2, in_channels=384),
)
optim_wrapper = dict(optimizer=dict(lr=1e-5))  # Sec. 2.2
custom_hooks = [
    *_base_.custom_hooks,
    dict(**_base_.gradcam, layers='backbone.layers.11.ln1'),
]
