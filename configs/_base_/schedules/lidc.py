# Paper: SGD, learning rate 5e-4, weight decay 1e-4, cross-entropy; it states neither
# momentum nor epochs. Training from scratch on a few hundred nodules is slow. Ours:
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=10, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.02)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, end=20),
    dict(type='CosineAnnealingLR', convert_to_iter_based=True),  # to the end
]
