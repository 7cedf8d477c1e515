# configs/nam/unet_lidc.py shrunk to the generated data of 300 patients. All numbers here
# are ours.
_base_ = '../nam/unet_lidc.py'
data_root = 'data/phantom/LIDC-slices/'
pipeline = [
    *_base_.test_pipeline[:2],
    dict(type='mmlesion.RandomSymmetry', flip_slices=False),
    _base_.pack,
]
train_dataloader = dict(
    batch_size=16, num_workers=1, dataset=dict(data_root=data_root, pipeline=pipeline)
)
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
test_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
model = dict(backbone=dict(code_channels=64), head=dict(in_channels=8))
train_cfg = dict(max_epochs=8)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = dict(
    _delete_=True, type='CosineAnnealingLR', convert_to_iter_based=True
)
