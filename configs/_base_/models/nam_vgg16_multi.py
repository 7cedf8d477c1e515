# A second VGG16 with more Conv+GAP layers narrows the scope of the first network, which
# was trained before and is not changed: Feng et al., MICCAI 2017, Sec. 2.2.
_base_ = './nam_vgg16.py'
model = dict(
    classifier=dict(
        # Another file: --cfg-options model.classifier.init_cfg.checkpoint=FILE
        init_cfg=dict(
            type='Pretrained',
            prefix='classifier',
            checkpoint='work_dirs/nam_1gap_lidc/best_*.pth',
        ),
        backbone=dict(init_cfg=None),
    ),
    multi_gap=dict(
        type='ImageClassifier',
        backbone=dict(
            type='mmlesion.MultiGAPVGG',
            num_gaps=2,
            branch_channels=1024,
            init_cfg=[dict(type='Kaiming', layer='Conv2d'), _base_.imagenet],
        ),
        head=dict(
            type='mmlesion.MultiGAPHead', num_classes=2, in_channels=[1024, 1024]
        ),
    ),
)
