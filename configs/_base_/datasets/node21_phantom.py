# Generated radiographs in NODE21's layout (command in data/README.md), for small
# networks from scratch. All numbers here are ours.
_base_ = './node21.py'
data_root = 'data/phantom/NODE21/'
size = 64  # 5.5 mm per pixel: vessels fade, nodules remain 3 to 5 pixels wide
load = [
    dict(type='mmlesion.LoadRadiograph', channels=1),
    dict(type='Resize', scale=(size, size), interpolation='area'),
    # The contrast of the body is several times that of a nodule; in trials of 5 to 10
    # epochs without this step, the loss remained at ln 2.
    dict(type='mmlesion.SubtractBackground', sigma_px=3),
]
pack = dict(type='PackInputs', meta_keys=_base_.meta_keys)
train_pipeline = [
    *load,
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCrop', crop_size=size, padding=size // 16, padding_mode='edge'),
    pack,
]
dataset = dict(data_root=data_root, pipeline=[*load, pack])
train_dataloader = dict(
    num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = dict(num_workers=1, dataset=dict(**dataset))
test_dataloader = dict(num_workers=1, dataset=dict(**dataset))
model = dict(data_preprocessor=dict(mean=[0.0], std=[20.0]))
