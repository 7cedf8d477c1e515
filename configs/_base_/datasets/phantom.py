# Generated CT in DeepLesion's layout (tools/make_phantom.py), 160 x 160 px.
_base_ = './deeplesion.py'
data_root = 'data/phantom/DeepLesion/'
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(data_root=data_root))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
test_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
