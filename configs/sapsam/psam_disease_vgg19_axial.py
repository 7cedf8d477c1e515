# Zusag et al., SAPSAM, Sec. 3.1: disease, VGG19 on axial projections.
# The paper reports 12 networks for disease; two architectures and three views give 6.
_base_ = [
    '../_base_/models/projection_vgg19.py',
    '../_base_/datasets/lung_projections.py',
    '../_base_/schedules/psam.py',
    '../_base_/psam_runtime.py',
]
train_dataloader = dict(dataset=dict(task='disease'))
val_dataloader = dict(dataset=dict(task='disease'))
test_dataloader = dict(dataset=dict(task='disease'))
