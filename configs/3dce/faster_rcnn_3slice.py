# Faster R-CNN, 3 slices: a row of the public logs of Yan et al., MICCAI 2018.
# MMDetection's detector and heads with the backbone, anchors, targets and
# losses of 3DCE.
_base_ = [
    '../_base_/models/3dce_vgg16.py',
    '../_base_/datasets/deeplesion_3slice.py',
    '../_base_/schedules/deeplesion_6e.py',
    '../_base_/detection_runtime.py',
]
model = dict(
    type='FasterRCNN',
    backbone=dict(
        _delete_=True,
        type='mmlesion.VGGStride8',
        depth=16,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://vgg16_caffe'),
    ),
    roi_head=dict(
        _delete_=True,
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2),
            out_channels=512,
            featmap_strides=[8],
        ),
        bbox_head=dict(
            type='mmlesion.DropoutBBoxHead',
            in_channels=512,
            fc_out_channels=2048,  # 3DCE code
            dropout=0.5,  # 3DCE code, after each of the two layers
            roi_feat_size=7,
            num_classes=1,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
            loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=10.0),
        ),
    ),
)
