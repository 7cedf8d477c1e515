# Ours-HESAM on D_11C with the training of the paper: SGD, 5e-4, no augmentation.
_base_ = [
    '../_base_/models/hesam_unet_resnet.py',
    '../_base_/datasets/lidc_nodules.py',
    '../_base_/schedules/lidc_paper.py',
    '../_base_/lidc_maps_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
