# psam_disease_vgg19_axial.py on sagittal projections.
_base_ = './psam_disease_vgg19_axial.py'
train_dataloader = dict(dataset=dict(view='sagittal'))
val_dataloader = dict(dataset=dict(view='sagittal'))
test_dataloader = dict(dataset=dict(view='sagittal'))
