# psam_cavity_vgg19_axial.py on coronal projections.
_base_ = '../psam_cavity_vgg19_axial.py'
train_dataloader = dict(dataset=dict(view='coronal'))
val_dataloader = dict(dataset=dict(view='coronal'))
test_dataloader = dict(dataset=dict(view='coronal'))
