# Slices of LIDC-IDRI with and without nodules, 384 x 384. Source: Feng et al.,
# Discriminative Localization in CNNs for Weakly-Supervised Segmentation of Pulmonary
# Nodules, MICCAI 2017, Sec. 3.1. data/README.md explains download and preparation.
data_root = 'data/LIDC-IDRI/'
meta_keys = (
    'img_id',
    'patient',
    'series_uid',
    'slice_number',
    'num_nodules',
    'spacing_mm',
    'crop_offset_px',
    'img_path',
    'img_shape',
    'ori_shape',
)

window = dict(type='mmlesion.WindowHU', window=(-1000, 400))  # ours
pack = dict(type='PackInputs', meta_keys=meta_keys)
# the paper mentions no augmentation
train_pipeline = [dict(type='mmlesion.LoadLIDCSlice'), window, pack]
# the masks are only used for Table 1
test_pipeline = [dict(type='mmlesion.LoadLIDCSlice', with_mask=True), window, pack]

dataset = dict(
    type='mmlesion.LIDCSliceDataset', data_root=data_root, seed=0
)  # ours: the authors' split is not published
train_dataloader = dict(
    batch_size=30,  # Sec. 3.2
    num_workers=2,
    # new workers for each epoch: a resumed training draws the same
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=30,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='val', pipeline=train_pipeline, test_mode=True),
)
test_dataloader = dict(
    batch_size=10,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='test', pipeline=test_pipeline, test_mode=True),
)
