# VGG16 on D_11C: Lei et al., arXiv 1810.12494, Table 1.
_base_ = [
    '../_base_/models/vgg16_nodule.py',
    '../_base_/datasets/lidc_nodules.py',
    '../_base_/schedules/lidc.py',
    '../_base_/lidc_runtime.py',
]
# Without normalization layers, the loss otherwise stays at that of guessing.
custom_hooks = [*_base_.custom_hooks, dict(type='mmlesion.DataDependentInitHook')]
optim_wrapper = dict(optimizer=dict(lr=1e-4))
