# Training and evaluation of Behrendt et al., Quantitative evaluation of activation
# maps, Table 1.
_base_ = 'mmpretrain::_base_/default_runtime.py'
default_hooks = dict(
    logger=dict(interval=20),
    # "The checkpoint with the lowest validation loss is chosen", Sec. 2.2
    checkpoint=dict(interval=1, max_keep_ckpts=1, save_best='binary/nll', rule='less'),
)
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'),
    dict(type='mmlesion.NonFiniteLossHook'),
]
# Grad-CAM "concerning the last layer", Sec. 2.3; each config defines the layer.
gradcam = dict(
    type='mmlesion.ActivationMapHook',
    method='GradCAM',
    target=1,  # the class with nodules
    score='logit',  # as in the paper; the default for two classes is log-odds
    key='gradcam',
    interval=None,
)  # in the test alone
randomness = dict(seed=0)

val_evaluator = dict(type='mmlesion.BinaryClassificationMetric', case_keys=('img_id',))
# "normalized to the range of 0 to 1", images with nodules, Sec. 2.4
maps_metric = dict(type='mmlesion.ActivationMapMetric', normalize='image')
test_evaluator = [
    val_evaluator,
    dict(**maps_metric, map_key='gradcam', prefix='gradcam'),
]
# Columns of tools/results_table.py: Table 1. The paper does not state whether its
# pixel AUPRC is pooled over all pixels or averaged over images; both are shown,
# together with the value for chance.
table = {
    'AUPRC': 'binary/auprc',
    'AUROC': 'binary/auc',
    'Grad-CAM': 'gradcam/auprc_pooled',
    'attention': 'attention/auprc_pooled',
    'prevalence': 'gradcam/prevalence_pooled',
    'Grad-CAM, by image': 'gradcam/auprc_mean',
    'attention, by image': 'attention/auprc_mean',
    'prevalence, by image': 'gradcam/prevalence_mean',
}
