# VGG16-CAM: without the last four pooling layers (5, 9, 13 and 17 of the host's
# VGG16, after 2, 2, 3, 3 and 3 convolutions), with one fully connected layer.
_base_ = './nodule_classifier.py'
model = dict(
    backbone=dict(
        type='mmlesion.RestridedBackbone',
        in_channels=11,
        backbone=dict(type='VGG', depth=16),
        remove=['features.5', 'features.9', 'features.13', 'features.17'],
    ),  # Table 1, caption
    head=dict(type='mmlesion.CAMHead', num_classes=2, in_channels=512),
)
