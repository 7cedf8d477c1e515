# configs/nam/nam_2gap_lidc.py shrunk to the generated data, after nam_1gap_lidc.py of this
# folder, whose checkpoint it needs. All numbers here are ours.
_base_ = './phantom_nam_1gap_lidc.py'
model = dict(
    classifier=dict(
        init_cfg=dict(
            type='Pretrained',
            prefix='classifier',
            # another file: --cfg-options model.classifier.init_cfg.checkpoint=FILE
            checkpoint='work_dirs/phantom_nam_1gap_lidc/epoch_20.pth',
        ),
        backbone=dict(init_cfg=None),
    ),
    multi_gap=dict(
        type='ImageClassifier',
        backbone=dict(type='mmlesion.MultiGAPVGG', num_gaps=2, **_base_.small),
        head=dict(type='mmlesion.MultiGAPHead', num_classes=2, in_channels=[64, 64]),
    ),
)
test_evaluator = [
    *_base_.test_evaluator[:1],
    dict(
        type='mmlesion.NoduleSegmentationMetric',
        reference={  # Table 1
            'paper, coarse': dict(
                tpr=0.76,
                fpr_nodule=0.09,
                dice=(0.50, 0.34),
                tp_dice=(0.66, 0.18),
                tp_doa=(41.6, 53.6),
            ),
            'paper, fine': dict(
                tpr=0.75,
                fpr_nodule=0.11,
                dice=(0.55, 0.33),
                tp_dice=(0.74, 0.14),
                tp_doa=(29.2, 46.8),
            ),
        },
    ),
]
