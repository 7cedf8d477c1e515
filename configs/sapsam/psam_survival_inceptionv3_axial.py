# Zusag et al., SAPSAM, Sec. 3.3: two-year survival, InceptionV3 on axial projections,
# initialized from the disease network. The paper reports 21 networks: nine for signs, and
# twelve for two tasks, two architectures and three views. From this number, we assume
# that survival was trained with both architectures.
# --cfg-options load_from=FILE selects the best checkpoint of the disease network; see
# psam_survival_vgg19_axial.py for the test patients of both networks.
_base_ = './psam_disease_inceptionv3_axial.py'
load_from = 'work_dirs/psam_disease_inceptionv3_axial/epoch_60.pth'
survival = dict(dataset=dict(task='survival', num_folds=3, num_val_folds=0))
train_dataloader = survival
test_dataloader = survival
val_dataloader = None
val_cfg = None
val_evaluator = None
train_cfg = dict(max_epochs=20)  # Sec. 3.3
default_hooks = dict(checkpoint=dict(save_best=None, rule=None))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmlesion.ResetLayersHook', layers=['head.fc2', 'head.fc']),
]
