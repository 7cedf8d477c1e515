# Networks with activation maps of their own: the test measures them, and Grad-CAM
# at the same features, against the nodule's mask.
_base_ = './lidc_runtime.py'
maps = dict(
    type='mmlesion.ActivationMapHook', interval=None
)  # not after each epoch: two more passes through the network
custom_hooks = [
    *_base_.custom_hooks,
    # CAM, SAM or HESAM, as the head draws it: Eqs. 2, 6 and 8 of Lei et al. The
    # class is malignant for all nodules, also benign ones; None would be the
    # predicted class.
    dict(**maps, method='SoftActivationMap', target=1, key='head_map'),
    dict(**maps, method='GradCAM', layers='backbone#0', target=1, key='gradcam'),
]
# Middle slice (planes='each': all of them, one by one); each map from 0 to 1, as in
# Behrendt et al., Sec. 2.4, without which the pooled numbers would compare raw
# evidence between nodules.
measure = dict(
    type='mmlesion.ActivationMapMetric',
    mask_key='mask',
    planes='middle',
    normalise='image',
)
test_evaluator = [
    _base_.val_evaluator,
    dict(**measure, map_key='head_map', prefix='map'),
    dict(**measure, map_key='gradcam', prefix='gradcam'),
]
table = {
    'map AUPRC': 'map/auprc_mean',
    'Grad-CAM AUPRC': 'gradcam/auprc_mean',
    'prevalence': 'map/prevalence_mean',
    'map AUROC, pooled': 'map/auroc_pooled',
}
