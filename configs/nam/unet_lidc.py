# Supervised U-net, the reference method in Feng et al., MICCAI 2017, Sec. 3.2 and
# Table 1. It is trained on masks.
_base_ = ['../_base_/datasets/lidc_slices.py', '../_base_/nam_runtime.py']
model = dict(
    type='ImageClassifier',
    # maps the window range 0..255 to -2..2
    data_preprocessor=dict(num_classes=2, mean=[127.5], std=[63.75]),
    # "An adapted model based on U-net architecture", without details; three levels,
    # padded convolutions and 64 to 512 maps are ours
    backbone=dict(type='mmlesion.UNet', in_channels=1, code_channels=512),
    head=dict(type='mmlesion.DiceMaskHead', in_channels=64),
)

train_dataloader = dict(
    batch_size=20, dataset=dict(pipeline=_base_.test_pipeline)
)  # Sec. 3.2
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=20, val_interval=1)  # ours
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='Adam', lr=2e-4)
)  # Sec. 3.2
# "learning decay (0.999)"; decay per epoch is ours
param_scheduler = dict(type='ExponentialLR', gamma=0.999, by_epoch=True)

custom_hooks = [
    hook for hook in _base_.custom_hooks if hook['type'] != 'mmlesion.MapShiftHook'
]
# settings were chosen "based on average Dice on the validation set"
default_hooks = dict(checkpoint=dict(save_best='nodule/fine/dice_mean', rule='greater'))
val_evaluator = dict(
    _delete_=True, type='mmlesion.NoduleSegmentationMetric', mask_keys=('fine_mask',)
)
test_evaluator = [
    dict(type='mmlesion.BinaryClassificationMetric', case_keys=('img_id',)),
    dict(
        type='mmlesion.NoduleSegmentationMetric',
        mask_keys=('fine_mask',),
        reference={  # Table 1
            'paper, U-net': dict(
                tpr=0.74,
                fpr=0.29,
                fpr_nodule=0.26,
                dice=(0.56, 0.38),
                tp_dice=(0.76, 0.19),
                tp_doa=(28.3, 44.8),
            )
        },
    ),
]
