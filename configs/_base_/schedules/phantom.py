# From scratch, on a few hundred samples: warm-up, then cosine.
_base_ = './deeplesion_6e.py'
train_cfg = dict(max_epochs=16, val_interval=4)
optim_wrapper = dict(
    optimizer=dict(lr=0.02, weight_decay=1e-4),
    clip_grad=dict(_delete_=True, max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=100),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=16,
         convert_to_iter_based=True),
]
