_base_ = 'mmpretrain::_base_/default_runtime.py'
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=1, max_keep_ckpts=1))
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'),
    dict(type='mmlesion.NonFiniteLossHook')
]
randomness = dict(seed=0)
