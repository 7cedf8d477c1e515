# Behrendt et al., Quantitative evaluation of activation maps, Sec. 2.2.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-5)
)  # Adam is ours; the paper does not state the optimizer
# "reduced by a factor of 0.8 every epoch"
param_scheduler = dict(type='ExponentialLR', gamma=0.8, by_epoch=True)
