# DeepLesion, official split, read as in 3DCE (Yan et al., MICCAI 2018, and
# its code), with 15 slices. data/README.md explains download and preparation.
data_root = 'data/DeepLesion/'
cache_dir = None  # the folder written by tools/prepare_data.py, if any
load_slices = dict(
    type='mmlesion.LoadSliceStack',
    num_slices=15,
    interval_mm=2.0,  # 3DCE code
    # ours; 'legacy' reproduces the interpolation error of 3DCE's code
    interpolation='exact',
    cache_dir=cache_dir,
)
preprocess = [
    dict(type='mmlesion.CropToBody', threshold_hu=-768),  # 3DCE code
    dict(type='mmlesion.WindowHU', window=(-1024, 3071)),  # 3DCE code
    dict(type='mmlesion.ResizeToSpacing', spacing_mm=0.8, max_size=512),
]
load_boxes = dict(type='LoadAnnotations', with_bbox=True)
pack = dict(type='mmlesion.PackCTInputs')
train_pipeline = [
    load_slices,
    load_boxes,
    *preprocess,  # no flip or other augmentation, as in 3DCE's code
    pack,
]
test_pipeline = [
    load_slices,
    *preprocess,
    load_boxes,  # after the geometry: ground truth in the pixels of ori_shape
    pack,
    # mmdet's DetInferencer requires a step of this name; this one does nothing
    dict(type='LoadImageFromFile', _scope_='mmlesion'),
]
# tools/test.py --tta: horizontal flip, two scales. The flip precedes the resizing,
# because mmdet flips boxes within ori_shape, which is otherwise inexact at odd widths.
tta_pipeline = [
    load_slices,
    *preprocess[:2],
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [
                dict(type='mmlesion.ResizeToSpacing', spacing_mm=0.8, max_size=512),
                dict(type='mmlesion.ResizeToSpacing', spacing_mm=0.64, max_size=640),
            ],
            [load_boxes],
            [pack],
        ],
    ),
]
tta_model = dict(
    type='DetTTAModel',
    tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.3), max_per_img=300),
)

dataset = dict(
    type='mmlesion.DeepLesionDataset',
    data_root=data_root,
    ann_file='DL_info.csv',
    data_prefix=dict(img='Images_png/'),
)
train_dataloader = dict(
    batch_size=2,  # 3DCE code; Tao Sec. 3
    num_workers=4,
    # new workers for each epoch: a resumed training draws the same
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='val', pipeline=test_pipeline, test_mode=True),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='test', pipeline=test_pipeline, test_mode=True),
)
val_evaluator = dict(type='mmlesion.FROCMetric')
test_evaluator = val_evaluator
