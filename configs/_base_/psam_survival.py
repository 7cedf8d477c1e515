# Two-year survival from projections: Zusag et al., SAPSAM, Sec. 3.3. Configs add the model
# and load_from, the checkpoint of the disease network with the same model and view.
_base_ = [
    './datasets/lung_projections.py',
    './schedules/psam.py',
    './psam_runtime.py',
]
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
