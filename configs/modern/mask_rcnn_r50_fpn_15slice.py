# Mask R-CNN (He et al., ICCV 2017), ResNet-50 with FPN, on 15 slices; the masks are
# generated from the two diameters of each lesion.
_base_ = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    '../_base_/deeplesion_modern.py',
]
model = dict(
    data_preprocessor=dict(_delete_=True, **_base_.ct_preprocessor, pad_mask=True),
    backbone=dict(
        **_base_.slice_backbone,
        backbone=dict(_base_.model.backbone, **_base_.trainable),
    ),
    neck=dict(**_base_.slice_neck, neck=_base_.model.neck),
    rpn_head=dict(anchor_generator=dict(scales=[4])),  # small lesions
    roi_head=dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1)),
    test_cfg=dict(rcnn=dict(score_thr=0.0, max_per_img=100)),  # for FROC
)
load_from = 'https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/mask_rcnn_r50_fpn_1x_coco/mask_rcnn_r50_fpn_1x_coco_20200205-d4b0c5d6.pth'  # COCO
train_pipeline = [
    *_base_.ct_train_pipeline[:2],
    dict(type='mmlesion.RECISTToMask'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    *_base_.ct_train_pipeline[3:],
]
train_dataloader = dict(_delete_=True, **_base_.deeplesion.train_dataloader)
train_dataloader['dataset'] = dict(train_dataloader['dataset'], pipeline=train_pipeline)
val_dataloader = dict(_delete_=True, **_base_.deeplesion.val_dataloader)
test_dataloader = dict(_delete_=True, **_base_.deeplesion.test_dataloader)
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
