# Standard VGG16: five pooling layers give 1 x 1 maps, followed by three linear layers.
_base_ = './nodule_classifier.py'
model = dict(
    backbone=dict(
        type='mmlesion.RestridedBackbone',
        in_channels=11,
        backbone=dict(type='VGG', depth=16),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='StackedLinearClsHead',
        num_classes=2,
        in_channels=512,
        mid_channels=[4096, 4096],
        dropout_rate=0.5,
    ),
)
