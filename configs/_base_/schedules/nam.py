# Feng et al., MICCAI 2017, Sec. 3.2: SGD with momentum; the rate of each network is in
# its config.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=20, val_interval=1)  # ours
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1e-2, momentum=0.9),  # 0.9 is ours
    # "10 times the learning rate of the remaining VGG16Net layers"
    paramwise_cfg=dict(
        custom_keys=dict(branches=dict(lr_mult=10), head=dict(lr_mult=10))
    ),
)
# "learning decay (0.99)"; decay per epoch is ours
param_scheduler = dict(type='ExponentialLR', gamma=0.99, by_epoch=True)
