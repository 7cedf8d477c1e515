# Zusag et al., SAPSAM, Sec. 3.1: disease by InceptionV3, on axial projections.
# The paper counts 12 networks of disease; two architectures and three views are 6.
_base_ = [
    '../_base_/models/projection_inceptionv3.py',
    '../_base_/datasets/lung_projections.py',
    '../_base_/schedules/psam.py',
    '../_base_/psam_runtime.py',
]
train_dataloader = dict(dataset=dict(task='disease'))
val_dataloader = dict(dataset=dict(task='disease'))
test_dataloader = dict(dataset=dict(task='disease'))
