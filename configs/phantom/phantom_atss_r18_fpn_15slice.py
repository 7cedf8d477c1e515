# configs/modern/atss_r50_fpn_15slice.py shrunk to the generated data.
_base_ = '../modern/atss_r50_fpn_15slice.py'
width = 16
channels = 64
model = dict(
    backbone=dict(backbone=dict(depth=18, base_channels=width)),
    neck=dict(
        neck=dict(
            in_channels=[width, 2 * width, 4 * width, 8 * width], out_channels=channels
        )
    ),
    bbox_head=dict(in_channels=channels, feat_channels=channels, stacked_convs=2),
)
load_from = None
data_root = 'data/phantom/DeepLesion/'
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(data_root=data_root))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
test_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
train_cfg = dict(val_interval=3)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=0.02), clip_grad=dict(max_norm=10)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=100),
    dict(type='CosineAnnealingLR', T_max=12, convert_to_iter_based=True),
]
