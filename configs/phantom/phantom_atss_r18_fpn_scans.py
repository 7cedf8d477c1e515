# Detector for whole simulated scans. It differs from phantom_atss_r18_fpn_15slice.py in
# two HU windows, features from stride 4, and all 15 slices as the channels of one image
# (early fusion), so that a key slice takes one pass of the backbone. It is trained on
# slices with and without lesions. All numbers here are ours. Data:
#
#     mmlesion phantom scans --out data/phantom/train_scans --scans 240 --size 160 --seed 1000
#     mmlesion prepare scans --lesions data/phantom/train_scans/lesions.csv \
#         --out data/phantom/scan_slices --every 6 --shares 0.95 0.05 0
_base_ = './phantom_atss_r18_fpn_15slice.py'
width = 32
model = dict(
    data_preprocessor=dict(
        windows=[(-160, 240), (-1024, 600)],  # soft tissue, lung
        mean=[127.5],
        std=[64.0],
    ),
    backbone=dict(
        slices_per_image=15,
        num_windows=2,
        backbone=dict(
            type='ResNetV1d', in_channels=30, stem_channels=64, base_channels=width
        ),
    ),
    neck=dict(
        num_images=1,
        mode='key',  # there is only one image
        neck=dict(
            start_level=0,
            num_outs=4,
            in_channels=[width, 2 * width, 4 * width, 8 * width],
        ),
    ),
    bbox_head=dict(stacked_convs=1, anchor_generator=dict(strides=[4, 8, 16, 32])),
    test_cfg=dict(nms_pre=300, max_per_img=50),
)
data_root = 'data/phantom/scan_slices/'
slices = dict(data_root=data_root, background_file='background.csv')
*ct_steps, ct_pack = _base_.ct_train_pipeline
train_pipeline = [
    *ct_steps,
    # images of one size, because the padding of a batch costs time as well
    dict(type='RandomCrop', crop_size=(160, 160), allow_negative_crop=True),
    ct_pack,
]
train_dataloader = dict(batch_size=16, dataset=dict(**slices, pipeline=train_pipeline))
val_dataloader = dict(dataset=slices)
test_dataloader = dict(dataset=dict(**slices, split='val'))
train_cfg = dict(max_epochs=3, val_interval=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=100),
    dict(type='CosineAnnealingLR', T_max=3, convert_to_iter_based=True),
]
