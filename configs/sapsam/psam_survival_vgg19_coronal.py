# psam_survival_vgg19_axial.py on coronal projections.
_base_ = './psam_survival_vgg19_axial.py'
load_from = 'work_dirs/psam_disease_vgg19_coronal/epoch_60.pth'
train_dataloader = dict(dataset=dict(view='coronal'))
test_dataloader = dict(dataset=dict(view='coronal'))
