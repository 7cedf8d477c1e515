# Improved R-FCN, 3 slices (3DCE with one image): Tao et al., MICCAI 2019, Table 1.
_base_ = [
    '../_base_/models/3dce_vgg16.py',
    '../_base_/datasets/deeplesion_3slice.py',
    '../_base_/schedules/deeplesion_6e.py',
    '../_base_/detection_runtime.py',
]
model = dict(roi_head=dict(num_images=1))
