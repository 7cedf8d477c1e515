# VGG19 on projections: Zusag et al., SAPSAM, Sec. 2.4.
_base_ = './projection_classifier.py'
model = dict(
    backbone=dict(
        type='VGG',
        depth=19,
        frozen_stages=2,  # "frozen layers = the first two blocks", Sec. 3.1
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone',
            checkpoint='https://mmassets.onedl.ai/mmclassification/v0/vgg/'
            'vgg19_batch256_imagenet_20210208-e6920e4a.pth',
        ),
    ),
    # ours: the paper does not say how maps become numbers; by their mean, any size of
    # picture fits
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='mmlesion.MLPClsHead',
        num_classes=2,
        in_channels=512,
        mid_channels=1024,  # Sec. 2.4
        dropout=0.5,
    ),
)  # Sec. 2.4
