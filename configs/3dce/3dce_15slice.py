# 3DCE, 15 slices: Tao et al., MICCAI 2019, Tables 1 and 3.
_base_ = [
    '../_base_/models/3dce_vgg16.py',
    '../_base_/datasets/deeplesion.py',
    '../_base_/schedules/deeplesion_6e.py',
    '../_base_/detection_runtime.py',
]
