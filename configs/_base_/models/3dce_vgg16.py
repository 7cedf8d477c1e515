# 3DCE (improved R-FCN on slice triples), the model in the tables of both papers.
# Source: Yan et al., MICCAI 2018 (code: CADLab/lesion_detector_3DCE), cited as
# "3DCE"; Tao et al., MICCAI 2019, cited as "Tao".
#
# Deliberate differences from the authors' code:
# - the RPN and its losses run on the key image alone; theirs runs on all M and
#   ignores the others; the result is the same;
# - ground truth is not padded with (0, 0, 0, 0) boxes that become targets of
#   anchors, as in their code for batches with different numbers of boxes;
# - sampled RoIs are not repeated to fill 32, nor proposals to fill 300;
# - RoIs are pooled by position-sensitive RoIAlign; they use roi_op='pool';
# - boxes are scaled by their outer edges; theirs scales the numbers of the first and
#   the last pixel, which makes a box (1 - scale) pixels wider and higher;
# - proposals under 8 px of the *resized* image are dropped; theirs scales the 8 px.
model = dict(
    type='mmlesion.ContextRCNN',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[50.0],  # 3DCE config.PIXEL_MEANS, in the range 0..255
        std=[1.0],  # Caffe weights; 57.6 with torchvision's
        pad_size_divisor=8,
    ),
    backbone=dict(
        type='mmlesion.SliceBackbone',
        backbone=dict(
            type='mmlesion.VGGStride8',  # 3DCE Sec. 2: no pool4
            depth=16,
            init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://vgg16_caffe'),
        ),
    ),
    rpn_head=dict(
        type='RPNHead',
        in_channels=512,
        feat_channels=256,  # 3DCE code
        anchor_generator=dict(
            type='mmlesion.LesionAnchorGenerator',
            strides=[8],
            base_sizes=[8],
            ratios=[0.5, 1.0, 2.0],  # 3DCE Sec. 3
            scales=[2, 3, 4, 6, 12],
        ),  # 3DCE Sec. 3
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
        loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9),  # sigma 3
        init_cfg=[
            dict(type='Normal', layer='Conv2d', std=0.01),
            dict(type='Normal', std=0.001, override=dict(name='rpn_reg')),
        ],
    ),
    roi_head=dict(
        type='mmlesion.PSRoIHead',
        in_channels=512,
        num_images=5,
        ps_channels=10,  # 3DCE Sec. 2: 490 = 7 * 7 * 10 maps
        pool_size=7,
        featmap_stride=8,
        roi_op='align',  # ours; 'pool' in 3DCE's code
        bbox_head=dict(
            type='ConvFCBBoxHead',
            num_shared_fcs=1,  # code of 3DCE and Tao; Tao Sec. 2 says two
            fc_out_channels=2048,  # 3DCE Sec. 2
            num_classes=1,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),  # stds 1
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
            loss_bbox=dict(
                type='SmoothL1Loss', beta=1.0, loss_weight=10.0
            ),  # 3DCE code
            init_cfg=[
                dict(
                    type='Normal',
                    std=0.001,
                    override=[dict(name='shared_fcs'), dict(name='fc_reg')],
                ),
                dict(type='Normal', std=0.01, override=dict(name='fc_cls')),
            ],
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.7,
                neg_iou_thr=0.3,
                # the best anchor of a lesion is positive for any IoU
                min_pos_iou=1e-6,
                match_low_quality=True,
            ),
            sampler=dict(
                type='RandomSampler',
                num=32,
                pos_fraction=0.5,
                neg_pos_ub=-1,
                add_gt_as_proposals=False,
            ),
            # As in 3DCE's code, the last pixel of an anchor must begin inside the image.
            # The corners of some anchors are half pixels, and mmdet excludes the value.
            allowed_border=0.6,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=dict(
            nms_pre=12000,
            max_per_img=2000,
            nms=dict(type='nms', iou_threshold=0.7),
            min_bbox_size=8,
        ),
        rcnn=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.5,
                min_pos_iou=0.5,
                match_low_quality=False,
            ),
            sampler=dict(
                type='RandomSampler',
                num=32,  # per sample, not per batch
                pos_fraction=0.25,
                neg_pos_ub=-1,
                add_gt_as_proposals=True,
            ),
            pos_weight=-1,
            debug=False,
        ),
    ),
    test_cfg=dict(
        rpn=dict(
            nms_pre=6000,
            max_per_img=300,
            nms=dict(type='nms', iou_threshold=0.7),
            min_bbox_size=8,
        ),
        rcnn=dict(
            score_thr=0.0, nms=dict(type='nms', iou_threshold=0.3), max_per_img=300
        ),
    ),
)
