# DINO with four scales (Zhang et al., ICLR 2023), ResNet-50, on 15 slices; the five
# images are fused after the channel mapper.
_base_ = [
    'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py',
    '../_base_/deeplesion_modern.py',
]
model = dict(
    data_preprocessor=dict(_delete_=True, **_base_.ct_preprocessor),
    backbone=dict(
        _delete_=True,
        type='mmlesion.SliceBackbone',
        backbone=dict(_base_.model.backbone, init_cfg=None, frozen_stages=-1),
    ),
    neck=dict(
        _delete_=True,
        type='mmlesion.SliceNeck',
        neck=_base_.model.neck,
        num_images=5,
        mode='concat',
        position='after',
    ),
    bbox_head=dict(num_classes=1),
    test_cfg=dict(max_per_img=100),
)
load_from = 'https://download.openmmlab.com/mmdetection/v3.0/dino/dino-4scale_r50_8xb2-12e_coco/dino-4scale_r50_8xb2-12e_coco_20221202_182705-55b2bba2.pth'  # COCO
train_dataloader = dict(_delete_=True, **_base_.deeplesion.train_dataloader)
val_dataloader = dict(_delete_=True, **_base_.deeplesion.val_dataloader)
test_dataloader = dict(_delete_=True, **_base_.deeplesion.test_dataloader)
tta_pipeline = _base_.ct_tta_pipeline
tta_model = _base_.ct_tta_model
val_evaluator = dict(_delete_=True, **_base_.deeplesion.evaluator)
test_evaluator = val_evaluator
train_cfg = dict(_delete_=True, **_base_.recipe.train_cfg)
# clip_grad and lr_mult are those of mmdet's config
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4))
param_scheduler = _base_.recipe.param_scheduler
auto_scale_lr = _base_.recipe.auto_scale_lr
default_hooks = _base_.detection_runtime.default_hooks
custom_hooks = _base_.detection_runtime.custom_hooks
visualizer = dict(type='mmlesion.CTVisualizer')
randomness = dict(seed=23)
