# DenseNet121-CAM: pooling between the dense blocks has stride 1, and there is no
# max pooling after the first convolution, whose stride gives 16 x 16 maps. (The
# caption names only the "final pooling layer", but the stated size of 16 x 16
# requires that the first max pooling is removed, too.)
_base_ = './nodule_classifier.py'
model = dict(
    backbone=dict(
        type='mmlesion.RestridedBackbone',
        in_channels=11,
        backbone=dict(type='DenseNet', arch='121'),
        remove=['stem.3'],
        unit_stride=['transitions.0.pool', 'transitions.1.pool', 'transitions.2.pool'],
    ),  # Table 1, caption
    head=dict(type='mmlesion.CAMHead', num_classes=2, in_channels=1024),
)
