# Zusag et al., SAPSAM, Table 2: fungus balls on axial projections.
_base_ = [
    '../_base_/models/projection_vgg19.py',
    '../_base_/datasets/lung_projections.py',
    '../_base_/schedules/psam.py',
    '../_base_/psam_runtime.py',
]
train_dataloader = dict(dataset=dict(task='fungus_ball'))
val_dataloader = dict(dataset=dict(task='fungus_ball'))
test_dataloader = dict(dataset=dict(task='fungus_ball'))
train_cfg = dict(max_epochs=300)  # "240-300", Sec. 3.2
