# DenseNet121: Behrendt et al., Quantitative evaluation of activation maps, Table 1.
_base_ = ['_base_/datasets/node21.py', '_base_/schedules/node21.py',
          '_base_/node21_runtime.py']
model = dict(
    backbone=dict(
        type='DenseNet',
        arch='121',
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone',
            checkpoint='https://mmassets.onedl.ai/mmclassification/v0/densenet/'
            'densenet121_4xb256_in1k_20220426-07450f99.pth')),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=1024))
optim_wrapper = dict(optimizer=dict(lr=5e-6))  # Sec. 2.2
# Grad-CAM "concerning the last layer", Sec. 2.3
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'),
    dict(type='mmlesion.NonFiniteLossHook'),
    dict(
        type='mmlesion.ActivationMapHook',
        method='GradCAM',
        layers='backbone.transitions.3',
        target=1,  # the class with nodules
        key='gradcam'),
]
test_evaluator = [
    dict(type='mmlesion.BinaryClassificationMetric', case_keys=('img_id', )),
    # "normalized to the range of 0 to 1", images with nodules, Sec. 2.4
    dict(
        type='mmlesion.ActivationMapMetric',
        map_key='gradcam',
        prefix='gradcam',
        normalise='image'),
]
