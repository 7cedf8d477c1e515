# HESAM on the surroundings that the CT crops of nearly all nodules contain: 3 of the 11
# slices, 1.3 of 2 diameters. Outside of it, the patches of larger nodules show more of
# the CT, and those of smaller nodules repeat the border of the crop, which gives the
# label away. --common-extent does the same for every config of this folder.
_base_ = '../hesam_lidc_11c.py'
extent = dict(z_mm=1.0, diameters=0.65, physical_mm=9.0)
load = dict(_base_.load, extent=extent)
window, pack = _base_.window, _base_.pack
train_pipeline = [
    load,
    window,
    dict(type='mmlesion.RandomSymmetry', flip_slices=True),
    pack,
]
test_pipeline = [load, window, pack]
train_dataloader = dict(dataset=dict(extent=extent, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(extent=extent, pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(extent=extent, pipeline=test_pipeline))
