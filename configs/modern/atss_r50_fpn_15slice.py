# ATSS (Zhang et al., CVPR 2020), ResNet-50 with FPN, on 15 slices; the five images
# are fused after the lateral convolutions.
_base_ = ['mmdet::atss/atss_r50_fpn_1x_coco.py', '../_base_/deeplesion_modern.py']
model = dict(
    data_preprocessor=dict(_delete_=True, **_base_.ct_preprocessor),
    backbone=dict(
        **_base_.slice_backbone,
        backbone=dict(_base_.model.backbone, **_base_.trainable),
    ),
    neck=dict(**_base_.slice_neck, neck=_base_.model.neck),
    bbox_head=dict(num_classes=1, anchor_generator=dict(octave_base_scale=4)),  # small
    test_cfg=dict(score_thr=0.0, max_per_img=100),  # for FROC
)
load_from = 'https://download.openmmlab.com/mmdetection/v2.0/atss/atss_r50_fpn_1x_coco/atss_r50_fpn_1x_coco_20200209-985f7bd0.pth'  # COCO
train_dataloader = dict(_delete_=True, **_base_.deeplesion.train_dataloader)
val_dataloader = dict(_delete_=True, **_base_.deeplesion.val_dataloader)
test_dataloader = dict(_delete_=True, **_base_.deeplesion.test_dataloader)
tta_pipeline = _base_.ct_tta_pipeline
tta_model = _base_.ct_tta_model
val_evaluator = dict(_delete_=True, **_base_.deeplesion.evaluator)
test_evaluator = val_evaluator
train_cfg = dict(_delete_=True, **_base_.recipe.train_cfg)
optim_wrapper = dict(_delete_=True, **_base_.recipe.optim_wrapper)
param_scheduler = _base_.recipe.param_scheduler
auto_scale_lr = _base_.recipe.auto_scale_lr
default_hooks = _base_.detection_runtime.default_hooks
custom_hooks = _base_.detection_runtime.custom_hooks
visualizer = dict(type='mmlesion.CTVisualizer')
randomness = dict(seed=23)
