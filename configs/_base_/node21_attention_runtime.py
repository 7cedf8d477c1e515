# node21_runtime.py for networks with attention.
_base_ = './node21_runtime.py'
# "the maximum values of the different attention heads", Sec. 2.3
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='mmlesion.ActivationMapHook',
        method='AttentionMap',
        heads='max',
        key='attention',
        interval=None,
    ),
]
test_evaluator = [
    *_base_.test_evaluator,
    dict(**_base_.maps_metric, map_key='attention', prefix='attention'),
]
