# PatchConvNet: Behrendt et al., Quantitative evaluation of activation maps, Table 1.
# They do not name its size; S60 is ours.
_base_ = ['_base_/datasets/node21.py', '_base_/schedules/node21.py',
          '_base_/node21_runtime.py']
model = dict(
    backbone=dict(
        type='mmlesion.PatchConvNet',
        arch='s60',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/deit/s60_224_1k.pth')),
    neck=None,
    head=dict(type='LinearClsHead', num_classes=2, in_channels=384))
train_dataloader = dict(batch_size=16)  # Sec. 2.2
optim_wrapper = dict(optimizer=dict(lr=1e-6))  # Sec. 2.2
# Grad-CAM "concerning the last layer" and attention, "the maximum values of the
# different attention heads", Sec. 2.3
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'),
    dict(type='mmlesion.NonFiniteLossHook'),
    dict(
        type='mmlesion.ActivationMapHook',
        method='GradCAM',
        layers='backbone.blocks.59',
        target=1,  # the class with nodules
        key='gradcam'),
    dict(
        type='mmlesion.ActivationMapHook',
        method='AttentionMap',
        heads='max',
        key='attention'),
]
test_evaluator = [
    dict(type='mmlesion.BinaryClassificationMetric', case_keys=('img_id', )),
    # "normalized to the range of 0 to 1", images with nodules, Sec. 2.4
    dict(
        type='mmlesion.ActivationMapMetric',
        map_key='gradcam',
        prefix='gradcam',
        normalise='image'),
    dict(
        type='mmlesion.ActivationMapMetric',
        map_key='attention',
        prefix='attention',
        normalise='image'),
]
