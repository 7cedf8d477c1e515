# configs/3dce_csatt_15slice.py shrunk to the generated data. `make demo`
# trains this config on two CPU cores. All numbers here are ours.
_base_ = [
    '../_base_/models/3dce_csatt_vgg16.py',
    '../_base_/datasets/phantom.py',
    '../_base_/schedules/phantom.py',
    '../_base_/detection_runtime.py',
]
width = 12
model = dict(
    backbone=dict(backbone=dict(depth=11, width=width, with_bn=True, init_cfg=None)),
    neck=dict(in_channels=8 * width),
    rpn_head=dict(in_channels=8 * width, feat_channels=64),
    roi_head=dict(
        in_channels=8 * width, bbox_head=dict(fc_out_channels=256, init_cfg=None)
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=1000, max_per_img=300)),
    test_cfg=dict(rpn=dict(nms_pre=1000)),
)
