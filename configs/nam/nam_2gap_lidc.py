# 2-GAP of Feng et al., Discriminative Localization in CNNs for Weakly-Supervised
# Segmentation of Pulmonary Nodules, MICCAI 2017.
_base_ = [
    '../_base_/models/nam_vgg16_multi.py',
    '../_base_/datasets/lidc_slices.py',
    '../_base_/schedules/nam.py',
    '../_base_/nam_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=2e-3))  # Sec. 3.2
# Table 1
test_evaluator = [
    *_base_.test_evaluator[:1],
    dict(
        **_base_.test_evaluator[1],
        reference={
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
    # network with several GAPs; the rows above use one GAP for classification
    dict(
        type='mmlesion.BinaryClassificationMetric',
        case_keys=('img_id',),
        score_key='multi_gap_score',
        prefix='multi_gap',
    ),
]
