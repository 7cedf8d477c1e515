# VGG16 with one Conv+GAP at the end: Feng et al., MICCAI 2017, Secs. 2.1 and 3.2.
imagenet = dict(
    type='Pretrained',  # Sec. 3.2
    prefix='backbone',
    checkpoint='https://mmassets.onedl.ai/mmclassification/v0/vgg/'
    'vgg16_batch256_imagenet_20210208-db26f1a5.pth',
)
model = dict(
    type='mmlesion.NAMSegmentor',
    # ImageNet statistics, as for the pretrained weights; a gray slice becomes 3
    # channels
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        num_classes=2,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
    ),
    classifier=dict(
        type='ImageClassifier',
        backbone=dict(
            type='mmlesion.MultiGAPVGG',
            num_gaps=1,
            branch_channels=1024,  # Zhou et al., CVPR 2016; not stated in the paper
            init_cfg=[dict(type='Kaiming', layer='Conv2d'), imagenet],
        ),
        head=dict(type='mmlesion.MultiGAPHead', num_classes=2, in_channels=[1024]),
    ),
    window_hu=(-1000, 400),  # of the data
    num_nodules=2,  # the top two blobs, for slices with two nodules, Sec. 3.2
    num_phases=4,  # Sec. 2.2
    # the following values are ours: see mmlesion.segmentation
    prominence=0.25,
    level=0.5,
    smoothness_hu=100,
    chance_radius_px=16,
)
# Crop and magnification of the slices of a scan (segment-nodules), as in the data
scan_slices = dict(size=384, zoom=1)
