# DeiT: Behrendt et al., Quantitative evaluation of activation maps, Table 1. They do
# not name its size (small is ours), nor whether it has a distillation token (none).
_base_ = ['_base_/datasets/node21.py', '_base_/schedules/node21.py',
          '_base_/node21_runtime.py']
model = dict(
    backbone=dict(
        type='VisionTransformer',
        arch='deit-small',
        img_size=224,
        patch_size=16,
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone',
            checkpoint='https://mmassets.onedl.ai/mmclassification/v0/deit/'
            'deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth')),
    neck=None,
    head=dict(type='VisionTransformerClsHead', num_classes=2, in_channels=384))
optim_wrapper = dict(optimizer=dict(lr=1e-5))  # Sec. 2.2
# Grad-CAM "concerning the last layer" and attention, "the maximum values of the
# different attention heads", Sec. 2.3
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'),
    dict(type='mmlesion.NonFiniteLossHook'),
    dict(
        type='mmlesion.ActivationMapHook',
        method='GradCAM',
        layers='backbone.layers.11.ln1',
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
