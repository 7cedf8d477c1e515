# nam_1gap_lidc_crops.py with a second network with two GAPs, which narrows the scope. It
# keeps the features of the one-GAP network. The branches and the head are trained, each
# branch also with its own loss. All numbers here are ours.
_base_ = './nam_1gap_lidc_crops.py'
model = dict(
    from_classifier=True,
    classifier=dict(
        init_cfg=dict(
            type='Pretrained',
            prefix='classifier',
            # another file: --cfg-options model.classifier.init_cfg.checkpoint=FILE
            checkpoint='work_dirs/nam_1gap_lidc_crops/best_*.pth',
        ),
        backbone=dict(init_cfg=None),
    ),
    multi_gap=dict(
        type='ImageClassifier',
        backbone=dict(type='mmlesion.MultiGAPVGG', num_gaps=2, **_base_.small),
        head=dict(
            type='mmlesion.MultiGAPHead',
            num_classes=2,
            in_channels=[128, 128],
            branch_loss_weight=0.5,
            **_base_.pooling,
        ),
    ),
)
train_cfg = dict(max_epochs=5, val_interval=1)
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
