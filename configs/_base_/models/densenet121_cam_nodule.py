# DenseNet121-CAM: poolings between the dense blocks with stride 1, and no
# maximum pooling after the first convolution, whose stride leaves 16 x 16. (The
# caption names the "final pooling layer"; without the first, too, the maps would
# be 8 x 8, and it says 16 x 16.)
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
