# Zusag et al., SAPSAM, Sec. 3.3: survival of two years on axial projections,
# from the network of disease; name its best checkpoint by --cfg-options load_from=FILE.
# Patients that are tested here may have trained that network, of which the paper says
# nothing either; without a column "split" in the list of scans, train it with
# num_folds=3 too, and the same patients are held out of both.
_base_ = './psam_disease_vgg19_axial.py'
load_from = 'work_dirs/psam_disease_vgg19_axial/epoch_60.pth'
# "(N=510) training cases and (N=255) testing cases", "No validation set was used"
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
    # "The last two fully-connected layers were reset to a random state", Sec. 2.4
    dict(type='mmlesion.ResetLayersHook', layers=['head.fc2', 'head.fc']),
]
