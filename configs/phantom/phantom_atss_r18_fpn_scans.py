# Detector for whole simulated scans. It differs from phantom_atss_r18_fpn_15slice.py in
# two HU windows, features from stride 4 and training slices with and without lesions.
# All numbers here are ours. Data:
#
#     mmlesion phantom scans --out data/phantom/train_scans --scans 120 --size 160 --seed 1000
#     mmlesion prepare scans --lesions data/phantom/train_scans/lesions.csv \
#         --out data/phantom/scan_slices --every 4 --shares 0.9 0.1 0
_base_ = './phantom_atss_r18_fpn_15slice.py'
model = dict(
    data_preprocessor=dict(
        windows=[(-160, 240), (-1024, 600)],  # soft tissue, lung
        mean=[127.5],
        std=[64.0],
    ),
    backbone=dict(num_windows=2, backbone=dict(in_channels=6)),
    neck=dict(neck=dict(start_level=0)),
    bbox_head=dict(anchor_generator=dict(strides=[4, 8, 16, 32, 64])),
    test_cfg=dict(nms_pre=300, max_per_img=50),
)
data_root = 'data/phantom/scan_slices/'
slices = dict(data_root=data_root, background_file='background.csv')
train_dataloader = dict(batch_size=8, dataset=slices)
val_dataloader = dict(dataset=slices)
test_dataloader = dict(dataset=dict(**slices, split='val'))
train_cfg = dict(max_epochs=4, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=100),
    dict(type='CosineAnnealingLR', T_max=4, convert_to_iter_based=True),
]
