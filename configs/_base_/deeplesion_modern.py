# DeepLesion and a training recipe for full experiment configs of mmdet.
#
# All top-level names differ from those of mmdet, so this file can be combined with any
# of its experiments in `_base_`. A config selects the parts it needs:
#
#     _base_ = ['mmdet::atss/atss_r50_fpn_1x_coco.py', '../_base_/deeplesion_modern.py']
#     train_dataloader = dict(_delete_=True, **_base_.deeplesion.train_dataloader)
#
# The pipeline returns int16 HU; the data preprocessor applies windows on the device.
# All numbers are ours unless a source is named.
ct_load = dict(
    type='mmlesion.LoadSliceStack',
    num_slices=15,
    interval_mm=2.0,  # 3DCE code
    cache_dir=None,  # the folder written by tools/prepare_data.py, if any
)
ct_geometry = [
    dict(type='mmlesion.CropToBody'),  # 3DCE code
    dict(type='mmlesion.ResizeToSpacing', spacing_mm=0.8, max_size=512),  # 3DCE Sec. 3
    dict(type='mmlesion.RoundHU'),
]
ct_train_pipeline = [
    dict(type='mmlesion.RandomSpacing', in_plane=(0.8, 1.25), along_z=(0.8, 1.25)),
    ct_load,
    dict(type='LoadAnnotations', with_bbox=True),
    *ct_geometry,
    dict(type='mmlesion.RandomFlipZ', prob=0.5),
    dict(
        type='RandomFlip', prob=0.75, direction=['horizontal', 'vertical', 'diagonal']
    ),
    dict(type='mmlesion.PackCTInputs'),
]
ct_test_pipeline = [
    ct_load,
    *ct_geometry,
    # after the geometry: ground truth in the pixels of ori_shape
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='mmlesion.PackCTInputs'),
    # mmdet's DetInferencer requires a step of this name; this one does nothing
    dict(type='LoadImageFromFile', _scope_='mmlesion'),
]
# tools/test.py --tta: horizontal flip, two scales. The flip precedes the resizing,
# because mmdet flips boxes within ori_shape, which is otherwise inexact at odd widths.
ct_tta_pipeline = [
    ct_load,
    ct_geometry[0],
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [ct_geometry[1], dict(ct_geometry[1], spacing_mm=0.64, max_size=640)],
            [ct_geometry[2]],
            [dict(type='LoadAnnotations', with_bbox=True)],
            [dict(type='mmlesion.PackCTInputs')],
        ],
    ),
]
ct_tta_model = dict(
    type='DetTTAModel',
    tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.3), max_per_img=100),
)
ct_dataset = dict(
    type='mmlesion.DeepLesionDataset',
    data_root='data/DeepLesion/',
    ann_file='DL_info.csv',
    data_prefix=dict(img='Images_png/'),
)
_test_loader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
)
deeplesion = dict(
    train_dataloader=dict(
        batch_size=16,  # the paper's recipe has 2
        num_workers=8,
        pin_memory=True,
        # new workers for each epoch: a resumed training draws the same numbers
        persistent_workers=False,
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(**ct_dataset, split='train', pipeline=ct_train_pipeline),
    ),
    val_dataloader=dict(
        **_test_loader,
        dataset=dict(
            **ct_dataset, split='val', pipeline=ct_test_pipeline, test_mode=True
        ),
    ),
    test_dataloader=dict(
        **_test_loader,
        dataset=dict(
            **ct_dataset, split='test', pipeline=ct_test_pipeline, test_mode=True
        ),
    ),
    evaluator=dict(type='mmlesion.FROCMetric'),
)
ct_preprocessor = dict(
    type='mmlesion.CTDataPreprocessor',
    windows=[(-1024, 3071)],  # 3DCE Sec. 3
    window_jitter=0.05,
    mean=[50.0],  # 3DCE config.PIXEL_MEANS
    std=[57.6],
    pad_size_divisor=32,
    non_blocking=True,
)

# Backbone and neck of a stock detector for slice stacks:
#
#     backbone=dict(
#         **_base_.slice_backbone,
#         backbone=dict(_base_.model.backbone, **_base_.trainable),
#     ),
#     neck=dict(**_base_.slice_neck, neck=_base_.model.neck),
slice_backbone = dict(_delete_=True, type='mmlesion.SliceBackbone')
slice_neck = dict(
    _delete_=True,
    type='mmlesion.SliceNeck',
    num_images=5,
    mode='concat',
    position='laterals',
)
trainable = dict(
    init_cfg=None, frozen_stages=-1, norm_eval=False
)  # trains all layers of a ResNet

# Large batches: warm-up, AdamW, cosine schedule. For SGD, scale the rate of 3DCE (0.001
# at a batch of 2) with the batch size: 0.008 at 16, 0.016 at 32.
recipe = dict(
    train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1),
    optim_wrapper=dict(
        type='OptimWrapper',  # tools/train.py --amp
        optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.05),
        clip_grad=dict(max_norm=1.0),
        paramwise_cfg=dict(
            norm_decay_mult=0.0, bias_decay_mult=0.0, bypass_duplicate=True
        ),
    ),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
        dict(
            type='CosineAnnealingLR', T_max=12, eta_min=1e-6, convert_to_iter_based=True
        ),
    ],
    auto_scale_lr=dict(enable=False, base_batch_size=16),
)
detection_runtime = dict(
    default_hooks=dict(
        checkpoint=dict(
            interval=1, save_best='froc/sens@4', rule='greater', max_keep_ckpts=2
        ),
        visualization=dict(type='mmlesion.CTVisualizationHook'),
    ),
    custom_hooks=[
        dict(type='mmlesion.EpochSeedHook'),
        dict(type='mmlesion.NonFiniteLossHook'),
        dict(type='mmlesion.Float32BoxesHook'),
    ],
)
