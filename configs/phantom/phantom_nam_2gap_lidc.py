# configs/nam/nam_2gap_lidc.py shrunk to the generated data. It needs the checkpoint of
# phantom_nam_1gap_lidc.py. All numbers here are ours.
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
