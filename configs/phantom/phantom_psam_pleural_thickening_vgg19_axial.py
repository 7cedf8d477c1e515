_base_ = './phantom_psam_cavity_vgg19_axial.py'
train_dataloader = dict(dataset=dict(task='pleural_thickening'))
val_dataloader = dict(dataset=dict(task='pleural_thickening'))
test_dataloader = dict(dataset=dict(task='pleural_thickening'))
