# VGG19 on projections: Zusag et al., SAPSAM, Sec. 2.4.
_base_ = './projection_classifier.py'
model = dict(
    backbone=dict(
        type='VGG',
        depth=19,
        frozen_stages=2,  # "frozen layers = the first two blocks", Sec. 3.1
        # The maps of a lung region of 72 x 128 pixels have stride 16. After the
        # last pooling they would have 2 x 4 cells.
        with_last_pool=False,
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone',
            checkpoint='https://mmassets.onedl.ai/mmclassification/v0/vgg/'
            'vgg19_batch256_imagenet_20210208-e6920e4a.pth',
        ),
    ),
    # The paper does not state the pooling. The mean is defined for any image size.
    # --cfg-options model.neck.type=GeneralizedMeanPooling gives small signs more
    # weight.
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='mmlesion.MLPClsHead',
        num_classes=2,
        in_channels=512,
        mid_channels=1024,  # Sec. 2.4
        dropout=0.5,
    ),
)  # Sec. 2.4
