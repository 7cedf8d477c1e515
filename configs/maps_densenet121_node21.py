# DenseNet121: Behrendt et al., Quantitative evaluation of activation maps, Table 1.
_base_ = [
    '_base_/datasets/node21.py',
    '_base_/schedules/node21.py',
    '_base_/node21_runtime.py',
]
model = dict(
    backbone=dict(
        type='DenseNet',
        arch='121',
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone',
            checkpoint='https://mmassets.onedl.ai/mmclassification/v0/densenet/'
            'densenet121_4xb256_in1k_20220426-07450f99.pth',
        ),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=1024),
)
optim_wrapper = dict(optimizer=dict(lr=5e-6))  # Sec. 2.2
custom_hooks = [
    *_base_.custom_hooks,
    dict(**_base_.gradcam, layers='backbone.transitions.3'),
]
