# 3DCE with contextual and spatial attention on ResNet-50 with FPN. The FPN processes each
# image, and its level of stride 8 replaces the features of VGG16.
_base_ = [
    '../_base_/models/3dce_csatt_vgg16.py',
    '../_base_/deeplesion_modern.py',
    '../_base_/detection_runtime.py',
]
model = dict(
    data_preprocessor=dict(_delete_=True, **_base_.ct_preprocessor),
    backbone=dict(
        _delete_=True,
        type='mmlesion.SliceBackbone',
        backbone=dict(
            type='ResNet',
            depth=50,
            init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
        ),
        neck=dict(
            type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=4
        ),
        out_levels=[1],
    ),
    neck=dict(in_channels=256),
    rpn_head=dict(in_channels=256),
    roi_head=dict(in_channels=256),
)
train_dataloader = _base_.deeplesion.train_dataloader
val_dataloader = _base_.deeplesion.val_dataloader
test_dataloader = _base_.deeplesion.test_dataloader
tta_pipeline = _base_.ct_tta_pipeline
tta_model = _base_.ct_tta_model
val_evaluator = _base_.deeplesion.evaluator
test_evaluator = val_evaluator
train_cfg = _base_.recipe.train_cfg
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = _base_.recipe.optim_wrapper
param_scheduler = _base_.recipe.param_scheduler
auto_scale_lr = _base_.recipe.auto_scale_lr
custom_hooks = _base_.detection_runtime.custom_hooks
