# MMDetection's Faster R-CNN (ResNet-50, FPN) on 15 slices, which only needs SliceBackbone
# and SliceNeck. `load_from` loads mmdet's COCO weights.
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/deeplesion.py',
    '../_base_/schedules/deeplesion_6e.py',
    '../_base_/detection_runtime.py',
]
model = dict(
    data_preprocessor=dict(
        mean=[50.0], std=[57.6], bgr_to_rgb=False, pad_size_divisor=32
    ),
    backbone=dict(
        _delete_=True, type='mmlesion.SliceBackbone', backbone=_base_.model.backbone
    ),
    neck=dict(
        _delete_=True,
        type='mmlesion.SliceNeck',
        neck=_base_.model.neck,
        num_images=5,
        position='laterals',
    ),
    rpn_head=dict(anchor_generator=dict(scales=[4])),  # ours: small lesions
    roi_head=dict(bbox_head=dict(num_classes=1)),
    test_cfg=dict(
        rcnn=dict(score_thr=0.0, nms=dict(iou_threshold=0.3), max_per_img=300)
    ),
)  # as 3DCE, for FROC
