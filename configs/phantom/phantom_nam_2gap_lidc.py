# configs/nam/nam_2gap_lidc.py shrunk to the generated data. It needs the checkpoint of
# phantom_nam_1gap_lidc.py, whose features it keeps. The branches and the head are
# trained, each branch also with its own loss. All numbers here are ours.
_base_ = './phantom_nam_1gap_lidc.py'
model = dict(
    from_classifier=True,
    classifier=dict(
        init_cfg=dict(
            type='Pretrained',
            prefix='classifier',
            # another file: --cfg-options model.classifier.init_cfg.checkpoint=FILE
            checkpoint='work_dirs/phantom_nam_1gap_lidc/best_*.pth',
        ),
        backbone=dict(init_cfg=None),
    ),
    multi_gap=dict(
        type='ImageClassifier',
        backbone=dict(type='mmlesion.MultiGAPVGG', num_gaps=2, **_base_.small),
        head=dict(
            type='mmlesion.MultiGAPHead',
            num_classes=2,
            in_channels=[64, 64],
            branch_loss_weight=0.5,
            **_base_.pooling,
        ),
    ),
)
train_cfg = dict(max_epochs=6, val_interval=1)
test_evaluator = [
    *_base_.test_evaluator,
    # network with several GAPs; the rows above use one GAP for classification
    dict(
        type='mmlesion.BinaryClassificationMetric',
        case_keys=('img_id',),
        score_key='multi_gap_score',
        prefix='multi_gap',
    ),
]
