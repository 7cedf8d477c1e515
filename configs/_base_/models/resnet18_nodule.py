# ResNet18 as made for photographs, with as many input channels as slices.
_base_ = './nodule_classifier.py'
model = dict(
    backbone=dict(type='ResNet', depth=18, in_channels=11),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=512),
)
