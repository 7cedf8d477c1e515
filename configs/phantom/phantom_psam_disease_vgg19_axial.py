_base_ = './phantom_psam_cavity_vgg19_axial.py'
train_dataloader = dict(dataset=dict(task='disease'))
val_dataloader = dict(dataset=dict(task='disease'))
test_dataloader = dict(dataset=dict(task='disease'))
train_cfg = dict(
    max_epochs=100, val_interval=5
)  # few training projections, one per scan and rotation
