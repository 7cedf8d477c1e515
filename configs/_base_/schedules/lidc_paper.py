# The schedule of Lei et al., arXiv 1810.12494, "Nodule Classification Using Volume
# Data". The paper gives neither momentum nor number of epochs.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=30, val_interval=1)  # ours
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='SGD',
        lr=5e-4,
        weight_decay=1e-4,
        momentum=0.9,  # ours
    ),
)
param_scheduler = []
