_base_ = 'mmdet::_base_/default_runtime.py'
default_hooks = dict(
    # 3DCE's code selects the epoch with the best sensitivity at 4 FP per image
    checkpoint=dict(
        interval=1, save_best='froc/sens@4', rule='greater', max_keep_ckpts=2
    ),
    visualization=dict(type='mmlesion.CTVisualizationHook'),
)
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'),
    dict(type='mmlesion.NonFiniteLossHook'),
    dict(type='mmlesion.Float32BoxesHook'),
]
visualizer = dict(type='mmlesion.CTVisualizer')
randomness = dict(seed=23)  # 3DCE code
