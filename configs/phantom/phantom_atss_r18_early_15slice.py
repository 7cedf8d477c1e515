# Early fusion: all 15 slices in two HU windows are the channels of one image, so that a key
# slice takes one pass of the backbone. It further differs from
# phantom_atss_r18_fpn_15slice.py in its width and its features from stride 4. All numbers
# here are ours.
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
