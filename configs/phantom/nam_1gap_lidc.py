# configs/nam_1gap_lidc.py shrunk to the generated data of 300 patients, whose slices
# have 160 x 160 pixels (data/README.md has the commands). From scratch, so with batch
# normalisation. All numbers here are ours.
_base_ = '../nam_1gap_lidc.py'
work_dir = 'work_dirs/phantom_nam_1gap_lidc'
data_root = 'data/phantom/LIDC-slices/'
pipeline = [
    _base_.train_pipeline[0], _base_.window,
    dict(type='mmlesion.RandomSymmetry', flip_slices=False), _base_.pack
]
train_dataloader = dict(
    batch_size=16, num_workers=1, dataset=dict(data_root=data_root, pipeline=pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
test_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))

scratch = [
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', layer='_BatchNorm', val=1)
]
small = dict(
    depth=11, width=8, branch_channels=64, norm_cfg=dict(type='BN'), init_cfg=scratch)
model = dict(
    # of the window's 0..255: -2..2
    data_preprocessor=dict(mean=[127.5] * 3, std=[63.75] * 3),
    classifier=dict(backbone=small, head=dict(in_channels=[64])))

train_cfg = dict(max_epochs=20, val_interval=2)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.02))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, end=60),
    dict(type='CosineAnnealingLR', convert_to_iter_based=True),  # to the end
]
