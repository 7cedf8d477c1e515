# configs/hesam_lidc_11c.py shrunk to the generated data of 120 patients: data,
# training and test take less than 5 minutes on two CPU cores (commands in
# data/README.md). All numbers here are ours.
_base_ = '../hesam_lidc_11c.py'
data_root = 'data/phantom/LIDC-IDRI/'
train_dataloader = dict(batch_size=16, num_workers=1, dataset=dict(data_root=data_root))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
test_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
width = 64
model = dict(
    backbone=dict(code_channels=width, unet_channels=16, res_channels=(32, width)),
    head=dict(in_channels=width),
)
train_cfg = dict(max_epochs=30, val_interval=5)
