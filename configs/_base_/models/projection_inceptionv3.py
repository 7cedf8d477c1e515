# InceptionV3 on projections: Zusag et al., SAPSAM, Sec. 2.4.
_base_ = './projection_classifier.py'
model = dict(
    backbone=dict(
        type='mmlesion.InceptionV3Features',
        stride=16,  # as VGG19; with 32, the maps of 216 x 256 pixels have 5 x 6 cells
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone',
            checkpoint='https://mmassets.onedl.ai/mmclassification/v0/inception-v3/'
            'inception-v3_3rdparty_8xb32_in1k_20220615-dcd4d910.pth',
        ),
    ),
    neck=dict(type='GlobalAveragePooling'),  # as in Szegedy et al.
    head=dict(
        type='mmlesion.MLPClsHead',
        num_classes=2,
        in_channels=2048,
        mid_channels=1024,  # Sec. 2.4
        dropout=0.5,
    ),
)  # Sec. 2.4
