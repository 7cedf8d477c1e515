# configs/psam_cavity_vgg19_axial.py shrunk to the generated scans and two cores, with a
# small VGG from scratch. All numbers here are ours. data/README.md has the commands for
# the data. The other psam_*.py of this folder inherit from this config.
_base_ = '../psam_cavity_vgg19_axial.py'
data_root = 'data/phantom/signs/'
loader = dict(num_workers=1, dataset=dict(data_root=data_root, num_rotations=3))
load, *affine, pack = _base_.train_pipeline
train_pipeline = [
    load,
    # left and right lungs are mirror images
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    # Rotation and scaling blur small images. Networks without unchanged training images
    # recognized only a third of the cavities in the training data.
    dict(type='RandomApply', transforms=affine, prob=0.5),
    pack,
]
train_dataloader = dict(
    num_workers=1,
    drop_last=True,  # batch normalization
    dataset=dict(
        data_root=data_root,
        num_rotations=3,
        # The height does not predict the sign. No effect on disease and survival.
        balance='level',
        pipeline=train_pipeline,
    ),
)
val_dataloader = loader
test_dataloader = loader
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmlesion.VGGStride8',
        depth=11,
        width=12,
        out_indices=(2,),  # stride 4, for maps with precise positions
        with_bn=True,
    ),
    # A sign is a small part of an image and has little effect on the mean
    neck=dict(type='GeneralizedMeanPooling'),
    head=dict(
        in_channels=48,
        mid_channels=64,
        init_cfg=dict(type='Kaiming', layer='Linear', mode='fan_in'),
    ),
)
train_cfg = dict(max_epochs=20, val_interval=2)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=0.05)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=30),
    dict(type='CosineAnnealingLR', convert_to_iter_based=True),  # to the end
]
