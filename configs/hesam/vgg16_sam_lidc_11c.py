# VGG16-SAM on D_11C: Lei et al., arXiv 1810.12494, Table 1.
_base_ = [
    '../_base_/models/vgg16_cam_nodule.py',
    '../_base_/datasets/lidc_nodules.py',
    '../_base_/schedules/lidc.py',
    '../_base_/lidc_maps_runtime.py',
]
model = dict(head=dict(type='mmlesion.SoftActivationHead'))
# With 1e-3 and without normalization layers, the loss stays at that of guessing.
optim_wrapper = dict(optimizer=dict(lr=1e-4))
