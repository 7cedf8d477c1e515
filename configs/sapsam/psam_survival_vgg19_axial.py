# Zusag et al., SAPSAM, Sec. 3.3: two-year survival on axial projections, initialized from
# the best checkpoint of the disease network (--cfg-options load_from=FILE). Test patients
# of this config may be training patients of that network; the paper does not discuss this.
# If the list of scans has no column "split", train the disease network with num_folds=3,
# too, so that both networks have the same test patients.
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
