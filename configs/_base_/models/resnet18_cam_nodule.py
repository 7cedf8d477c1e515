# ResNet18-CAM: no pooling after the first convolution, strides of 1 in all
# residual blocks; the stride of the first convolution gives 16 x 16 maps.
_base_ = './nodule_classifier.py'
model = dict(
    backbone=dict(
        type='mmlesion.RestridedBackbone',
        in_channels=11,
        backbone=dict(
            type='ResNet', depth=18, strides=(1, 1, 1, 1)
        ),  # Table 1, caption
        remove=['maxpool'],
    ),  # Table 1, caption
    head=dict(type='mmlesion.CAMHead', num_classes=2, in_channels=512),
)
