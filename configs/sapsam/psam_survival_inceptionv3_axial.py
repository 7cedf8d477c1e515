# Zusag et al., SAPSAM, Sec. 3.3: survival of two years by InceptionV3, on axial
# projections, from the network of disease. The paper counts 21 networks: nine of
# signs, and twelve of two tasks, two architectures and three views. That survival was
# learned with both architectures is an assumption from that number.
# --cfg-options load_from=FILE names the best checkpoint of the network of disease; see
# psam_survival_vgg19_axial.py for the patients that both networks hold out.
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
