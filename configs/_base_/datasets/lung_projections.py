# Projections of lungs. Source: Zusag et al., SAPSAM, Sec. 2.3. data/README.md explains
# the list of scans. Configs add task and view.
data_root = 'data/signs/'
meta_keys = (
    'img_id',
    'img_path',
    'scan',
    'patient',
    'area',
    'view',
    'rotation',
    'img_shape',
    'ori_shape',
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='NumpyToPIL', to_rgb=True),
    # "randomly rotated by +-20 degrees and randomly scaled between 80% and 120%",
    # Sec. 2.3; Sec. 3 has a "zoom factor = 0.1"
    dict(
        type='torchvision/RandomAffine',
        degrees=20,
        scale=(0.8, 1.2),
        interpolation='bilinear',
    ),
    dict(type='PILToNumpy', to_bgr=True),
    dict(type='PackInputs', meta_keys=meta_keys),
]
# Projections keep their size; the paper mentions no resizing
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PackInputs', meta_keys=meta_keys),
]
dataset = dict(
    type='mmlesion.LungProjectionDataset',
    data_root=data_root,
    fold=0,
    num_folds=5,  # a fifth for testing: Sec. 3.1, see the data set
    num_val_folds=8,  # ours: a tenth of all cases for validation
    seed=0,
)  # ours: the authors' split is not published
train_dataloader = dict(
    batch_size=32,  # Secs. 3.1 and 3.2
    num_workers=2,
    # new workers for each epoch: a resumed training draws the same
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='val', pipeline=test_pipeline, test_mode=True),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='test', pipeline=test_pipeline, test_mode=True),
)
