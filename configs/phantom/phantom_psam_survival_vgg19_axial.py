# configs/sapsam/psam_survival_vgg19_axial.py on the generated scans, initialized from the
# best checkpoint of the disease network (--cfg-options load_from=FILE). The test patients
# of this config are also test patients of the disease network.
_base_ = './phantom_psam_disease_vgg19_axial.py'
load_from = 'work_dirs/phantom_psam_disease_vgg19_axial/epoch_100.pth'
survival = dict(dataset=dict(task='survival', num_val_folds=0))
train_dataloader = survival
test_dataloader = survival
val_dataloader = None
val_cfg = None
val_evaluator = None
train_cfg = dict(max_epochs=10)
param_scheduler = None
default_hooks = dict(checkpoint=dict(save_best=None, rule=None))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmlesion.ResetLayersHook', layers=['head.fc2', 'head.fc']),
]
