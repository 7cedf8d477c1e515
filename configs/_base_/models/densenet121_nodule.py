# Standard DenseNet121 with one input channel per slice.
_base_ = './nodule_classifier.py'
model = dict(
    backbone=dict(type='DenseNet', arch='121', in_channels=11),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=1024),
)
