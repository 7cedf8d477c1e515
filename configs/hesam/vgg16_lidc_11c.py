# VGG16 on D_11C: Lei et al., arXiv 1810.12494, Table 1.
_base_ = [
    '../_base_/models/vgg16_nodule.py',
    '../_base_/datasets/lidc_nodules.py',
    '../_base_/schedules/lidc.py',
    '../_base_/lidc_runtime.py',
]
# With 1e-3 and without normalization layers, the loss stays at that of guessing.
optim_wrapper = dict(optimizer=dict(lr=1e-4))
