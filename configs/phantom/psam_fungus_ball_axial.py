_base_ = './psam_cavity_axial.py'
train_dataloader = dict(dataset=dict(task='fungus_ball'))
val_dataloader = dict(dataset=dict(task='fungus_ball'))
test_dataloader = dict(dataset=dict(task='fungus_ball'))
