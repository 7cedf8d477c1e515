_base_ = 'mmpretrain::_base_/default_runtime.py'
default_hooks = dict(
    logger=dict(interval=20),
    # "The checkpoint with the lowest validation loss is chosen"
    checkpoint=dict(
        interval=1, max_keep_ckpts=1, save_best='binary/log_loss', rule='less'))
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'),
    dict(type='mmlesion.NonFiniteLossHook')
]
randomness = dict(seed=0)
