_base_ = './phantom_psam_cavity_vgg19_axial.py'
train_dataloader = dict(dataset=dict(task='fungus_ball'))
val_dataloader = dict(dataset=dict(task='fungus_ball'))
test_dataloader = dict(dataset=dict(task='fungus_ball'))
