# configs/nam/nam_3gap_lidc.py shrunk to the generated data, after nam_1gap_lidc.py of this
# folder, whose checkpoint it needs. All numbers here are ours.
_base_ = './phantom_nam_2gap_lidc.py'
model = dict(
    multi_gap=dict(backbone=dict(num_gaps=3), head=dict(in_channels=[64, 64, 64]))
)
test_evaluator = [
    *_base_.test_evaluator[:1],
    dict(
        type='mmlesion.NoduleSegmentationMetric',
        reference={  # Table 1
            'paper, coarse': dict(
                tpr=0.75,
                fpr_nodule=0.11,
                dice=(0.50, 0.32),
                tp_dice=(0.67, 0.18),
                tp_doa=(40.1, 50.9),
            ),
            'paper, fine': dict(
                tpr=0.74,
                fpr_nodule=0.12,
                dice=(0.54, 0.34),
                tp_dice=(0.74, 0.14),
                tp_doa=(29.3, 46.4),
            ),
        },
    ),
]
