# psam_survival_vgg19_axial.py on sagittal projections.
_base_ = './psam_survival_vgg19_axial.py'
load_from = 'work_dirs/psam_disease_vgg19_sagittal/epoch_60.pth'
train_dataloader = dict(dataset=dict(view='sagittal'))
test_dataloader = dict(dataset=dict(view='sagittal'))
