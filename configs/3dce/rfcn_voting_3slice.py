# Original R-FCN with voting of bins, 3 slices: Dai et al., NIPS 2016; a row of the
# public logs of Yan et al., MICCAI 2018.
_base_ = './rfcn_3slice.py'
model = dict(
    roi_head=dict(
        ps_channels=6,  # lesion, background and 4 box deltas
        conv_channels=512,  # 3DCE code
        bbox_head=dict(
            _delete_=True,
            type='mmlesion.PSVoteBBoxHead',
            num_classes=1,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
            loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=10.0),
        ),
    )
)
