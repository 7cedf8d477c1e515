# 3-D network that separates lesions from other findings of a detector, for the step
# RescoreFindings. All numbers here are ours. Data:
#
#     mmlesion detect SCANS --config CONFIG --checkpoint CHECKPOINT --out RESULTS --formats json
#     mmlesion prepare candidates --results RESULTS --scans SCANS --truth truth.csv \
#         --out data/candidates/train
_base_ = 'mmpretrain::_base_/default_runtime.py'
data_root = 'data/candidates/'
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(num_classes=2, mean=None, std=None),  # keeps HU
    backbone=dict(type='mmlesion.ConvNet3D'),
    neck=dict(type='GlobalAveragePooling', dim=3),
    head=dict(
        type='LinearClsHead',
        num_classes=2,
        in_channels=64,
        loss=dict(type='CrossEntropyLoss', class_weight=[1.0, 3.0]),  # lesions are rare
    ),
)
pack = dict(type='PackInputs', meta_keys=('img_path', 'scan', 'score', 'img_shape'))
train_pipeline = [
    dict(type='mmlesion.LoadCandidatePatch', random_shift=True),
    dict(type='mmlesion.RandomSymmetry', flip_slices=True),
    pack,
]
test_pipeline = [dict(type='mmlesion.LoadCandidatePatch'), pack]
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    # new workers for each epoch: a resumed training draws the same
    persistent_workers=False,
    drop_last=True,  # batch normalization
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmlesion.CandidateDataset',
        data_root=data_root + 'train/',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmlesion.CandidateDataset',
        data_root=data_root + 'val/',
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmlesion.BinaryClassificationMetric')
test_evaluator = val_evaluator
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=14, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.01)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, end=100),
    dict(type='CosineAnnealingLR', convert_to_iter_based=True),  # to the end
]
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(
        interval=1, max_keep_ckpts=1, save_best='binary/auc', rule='greater'
    ),
)
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'),
    dict(type='mmlesion.NonFiniteLossHook'),
]
randomness = dict(seed=0)
