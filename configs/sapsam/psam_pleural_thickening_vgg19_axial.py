# Zusag et al., SAPSAM, Table 2: pleural thickening on axial projections.
_base_ = [
    '../_base_/models/projection_vgg19.py',
    '../_base_/datasets/lung_projections.py',
    '../_base_/schedules/psam.py',
    '../_base_/psam_runtime.py',
]
train_dataloader = dict(dataset=dict(task='pleural_thickening'))
val_dataloader = dict(dataset=dict(task='pleural_thickening'))
test_dataloader = dict(dataset=dict(task='pleural_thickening'))
train_cfg = dict(max_epochs=300)  # "240-300", Sec. 3.2
