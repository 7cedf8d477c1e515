# Cascade R-CNN (Cai and Vasconcelos, CVPR 2018) with ConvNeXt-T (Liu et al., CVPR 2022)
# and FPN on 15 slices.
_base_ = [
    'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    '../_base_/deeplesion_modern.py',
]
model = dict(
    data_preprocessor=dict(_delete_=True, **_base_.ct_preprocessor),
    backbone=dict(
        _delete_=True,
        type='mmlesion.SliceBackbone',
        backbone=dict(
            type='mmpretrain.ConvNeXt',
            arch='tiny',
            out_indices=[0, 1, 2, 3],
            drop_path_rate=0.4,
            layer_scale_init_value=1.0,
            gap_before_final_norm=False,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://download.openmmlab.com/mmclassification/v0/convnext/'
                'downstream/convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth',
                prefix='backbone.',  # ImageNet
            ),
        ),
    ),
    neck=dict(
        _delete_=True,
        type='mmlesion.SliceNeck',
        neck=dict(_base_.model.neck, in_channels=[96, 192, 384, 768]),
        num_images=5,
        position='laterals',
    ),
    rpn_head=dict(anchor_generator=dict(scales=[4])),  # small lesions
    roi_head=dict(
        bbox_head=[
            dict(head, num_classes=1) for head in _base_.model.roi_head.bbox_head
        ]
    ),
    test_cfg=dict(rcnn=dict(score_thr=0.0, max_per_img=100)),  # for FROC
)
custom_imports = dict(imports=['mmpretrain.models'], allow_failed_imports=False)
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
