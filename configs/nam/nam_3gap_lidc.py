# 3-GAP of Feng et al., Discriminative Localization in CNNs for Weakly-Supervised
# Segmentation of Pulmonary Nodules, MICCAI 2017.
_base_ = './nam_2gap_lidc.py'
model = dict(
    multi_gap=dict(backbone=dict(num_gaps=3), head=dict(in_channels=[1024, 1024, 1024]))
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))  # Sec. 3.2
# Table 1
test_evaluator = [
    _base_.test_evaluator[0],
    dict(
        _base_.test_evaluator[1],
        reference={
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
    _base_.test_evaluator[2],
]
