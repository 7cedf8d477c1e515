# psam_disease_inceptionv3_axial.py on sagittal projections.
_base_ = './psam_disease_inceptionv3_axial.py'
train_dataloader = dict(dataset=dict(view='sagittal'))
val_dataloader = dict(dataset=dict(view='sagittal'))
test_dataloader = dict(dataset=dict(view='sagittal'))
