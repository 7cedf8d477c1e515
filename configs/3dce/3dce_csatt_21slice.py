# 3DCE_CS_Att, 21 slices: Tao et al., MICCAI 2019, Table 1.
_base_ = [
    '../_base_/models/3dce_csatt_vgg16.py',
    '../_base_/datasets/deeplesion_21slice.py',
    '../_base_/schedules/deeplesion_6e.py',
    '../_base_/detection_runtime.py',
]
model = dict(roi_head=dict(num_images=7))
