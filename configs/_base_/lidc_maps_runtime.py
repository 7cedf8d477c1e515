# Runtime of networks whose heads compute activation maps. The test compares the exact map
# of the head, the map of the paper's equation, and Grad-CAM at the same features with the
# mask of the nodule. The maps explain the log-odds of the predicted class.
_base_ = './lidc_runtime.py'
maps = dict(
    type='mmlesion.ActivationMapHook', interval=None
)  # not after each epoch, because maps need two more passes
custom_hooks = [
    *_base_.custom_hooks,
    dict(**maps, method='SoftActivationMap', key='head_map'),
    dict(
        **maps,
        # Eqs. 2, 6 and 8 of Lei et al.
        method=dict(type='mmlesion.SoftActivationMap', map='equation'),
        key='equation_map',
    ),
    dict(**maps, method='GradCAM', layers='backbone#0', key='gradcam'),
]
# Middle slice (planes='each': each slice separately). Maps are scaled to [0, 1], as in
# Behrendt et al., Sec. 2.4; otherwise, pooled measures would compare unscaled
# values of different nodules.
measure = dict(
    type='mmlesion.ActivationMapMetric',
    mask_key='mask',
    planes='middle',
    normalize='image',
)
test_evaluator = [
    _base_.val_evaluator,
    dict(**measure, map_key='head_map', prefix='map'),
    dict(**measure, map_key='equation_map', prefix='equation'),
    dict(**measure, map_key='gradcam', prefix='gradcam'),
]
table = {
    'map AUPRC': 'map/auprc_mean',
    'equation AUPRC': 'equation/auprc_mean',
    'Grad-CAM AUPRC': 'gradcam/auprc_mean',
    'prevalence': 'map/prevalence_mean',
    'map AUROC, pooled': 'map/auroc_pooled',
}
