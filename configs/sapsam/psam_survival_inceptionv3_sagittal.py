# psam_survival_inceptionv3_axial.py on sagittal projections.
_base_ = './psam_survival_inceptionv3_axial.py'
load_from = 'work_dirs/psam_disease_inceptionv3_sagittal/epoch_60.pth'
train_dataloader = dict(dataset=dict(view='sagittal'))
test_dataloader = dict(dataset=dict(view='sagittal'))
