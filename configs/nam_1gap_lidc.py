# 1-GAP of Feng et al., Discriminative Localization in CNNs for Weakly-Supervised
# Segmentation of Pulmonary Nodules, MICCAI 2017.
_base_ = [
    '_base_/models/nam_vgg16.py',
    '_base_/datasets/lidc_slices.py',
    '_base_/schedules/nam.py',
    '_base_/nam_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=1e-2))  # Sec. 3.2
# Table 1
test_evaluator = [
    *_base_.test_evaluator[:1],
    dict(
        **_base_.test_evaluator[1],
        reference={
            'paper, coarse': dict(
                tpr=0.77,
                fpr=0.11,
                fpr_nodule=0.08,
                dice=(0.46, 0.31),
                tp_dice=(0.61, 0.20),
                tp_doa=(57.6, 71.1),
            ),
            'paper, fine': dict(
                tpr=0.75,
                fpr_nodule=0.11,
                dice=(0.54, 0.34),
                tp_dice=(0.73, 0.15),
                tp_doa=(30.7, 52.8),
            ),
        },
    ),
]
