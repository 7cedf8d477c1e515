# RTMDet-s (Lyu et al., 2022) on 15 slices. Its neck has no lateral convolutions: the
# features of the backbone are fused by attention along z.
_base_ = ['mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py', '../_base_/deeplesion_modern.py']
model = dict(
    data_preprocessor=dict(_delete_=True, **_base_.ct_preprocessor),
    backbone=dict(
        _delete_=True,
        type='mmlesion.SliceBackbone',
        backbone=dict(_base_.model.backbone, init_cfg=None, norm_cfg=dict(type='BN')),
    ),
    neck=dict(
        _delete_=True,
        type='mmlesion.SliceNeck',
        neck=dict(_base_.model.neck, norm_cfg=dict(type='BN')),
        num_images=5,
        mode='transformer',
        position='before',
    ),
    bbox_head=dict(num_classes=1, norm_cfg=dict(type='BN')),
    test_cfg=dict(score_thr=0.0, max_per_img=100),  # for FROC
)
load_from = 'https://download.openmmlab.com/mmdetection/v3.0/rtmdet/rtmdet_s_8xb32-300e_coco/rtmdet_s_8xb32-300e_coco_20220905_161602-387a891e.pth'  # COCO
train_dataloader = dict(_delete_=True, **_base_.deeplesion.train_dataloader)
val_dataloader = dict(_delete_=True, **_base_.deeplesion.val_dataloader)
test_dataloader = dict(_delete_=True, **_base_.deeplesion.test_dataloader)
tta_pipeline = _base_.ct_tta_pipeline
tta_model = dict(_delete_=True, **_base_.ct_tta_model)
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
