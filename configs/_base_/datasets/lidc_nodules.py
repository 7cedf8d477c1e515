# Nodules of LIDC-IDRI, 11 slices of 1 mm, squares of twice the diameter on
# 32 x 32 (D_11C). Source: Lei et al., arXiv 1810.12494, "Data Preparation".
# data/README.md explains download and preparation. The folds of
# tools/cross_validate.py keep each patient in one fold; the paper does not state
# this for its folds.
data_root = 'data/LIDC-IDRI/'
inputs = '11c'  # --inputs selects 1c, 3c or 21c
meta_keys = (
    'nodule_id',
    'patient',
    'malignancy',
    'diameter_mm',
    'img_path',
    'img_shape',
    'ori_shape',
)

load = dict(type='mmlesion.LoadNodulePatch', inputs=inputs)
window = dict(type='mmlesion.WindowHU', window=(-1000, 400))  # ours
pack = dict(type='PackInputs', meta_keys=meta_keys)
train_pipeline = [
    load,
    window,
    # ours: the paper uses no augmentation
    dict(type='mmlesion.RandomSymmetry', flip_slices=True),
    pack,
]
test_pipeline = [load, window, pack]

dataset = dict(
    type='mmlesion.LIDCNoduleDataset',
    data_root=data_root,
    fold=0,  # tools/cross_validate.py sets these three
    num_folds=5,
    seed=0,
)
train_dataloader = dict(
    batch_size=32,  # "Nodule Classification Using Volume Data"
    num_workers=1,
    # new workers for each epoch: a resumed training draws the same
    persistent_workers=False,
    drop_last=True,  # batch normalization
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='train', pipeline=train_pipeline),
)
# The test fold is evaluated after each epoch for curves only, not for selection.
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='test', pipeline=test_pipeline, test_mode=True),
)
test_dataloader = val_dataloader
