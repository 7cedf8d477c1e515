# Faster R-CNN, ResNet-50 with FPN, on 9 slices, extended to 3-D by asymmetric context
# fusion (A3D, Yang et al., MICCAI 2021, who use DenseNet-121 and 7 slices).
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    '../_base_/deeplesion_modern.py',
]
model = dict(
    data_preprocessor=dict(_delete_=True, **_base_.ct_preprocessor),
    backbone=dict(
        _delete_=True,
        type='mmlesion.SliceBackbone',
        backbone=dict(
            _base_.model.backbone, init_cfg=None, frozen_stages=-1, norm_eval=False
        ),
        stride=1,  # overlapping triples: the 7 inner slices are the middle slices of images
        context=dict(type='mmlesion.AsymmetricContext', num_images=7),
    ),
    neck=dict(
        _delete_=True,
        type='mmlesion.SliceNeck',
        neck=_base_.model.neck,
        num_images=7,
        mode='concat',
        position='laterals',
    ),
    rpn_head=dict(anchor_generator=dict(scales=[4])),  # small lesions
    roi_head=dict(bbox_head=dict(num_classes=1)),
    test_cfg=dict(rcnn=dict(score_thr=0.0, max_per_img=100)),  # for FROC
)
load_from = 'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r50_fpn_1x_coco/faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth'  # COCO
load_9_slices = dict(_base_.ct_load, num_slices=9)
train_pipeline = [
    _base_.ct_train_pipeline[0],
    load_9_slices,
    *_base_.ct_train_pipeline[2:],
]
test_pipeline = [load_9_slices, *_base_.ct_test_pipeline[1:]]
train_dataloader = dict(_delete_=True, **_base_.deeplesion.train_dataloader)
train_dataloader['dataset'] = dict(train_dataloader['dataset'], pipeline=train_pipeline)
val_dataloader = dict(_delete_=True, **_base_.deeplesion.val_dataloader)
val_dataloader['dataset'] = dict(val_dataloader['dataset'], pipeline=test_pipeline)
test_dataloader = dict(_delete_=True, **_base_.deeplesion.test_dataloader)
test_dataloader['dataset'] = dict(test_dataloader['dataset'], pipeline=test_pipeline)
tta_pipeline = [load_9_slices, *_base_.ct_tta_pipeline[1:]]
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
