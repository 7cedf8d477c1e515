# Nodules of LIDC-IDRI, the central slice at 2, 3 and 4 diameters (D_3C).
_base_ = './lidc_11c.py'
inputs = '3c'
load = dict(inputs=inputs)
train_pipeline = [
    dict(_base_.load, inputs=inputs),
    _base_.window,
    # the channels are scales here, not slices
    dict(type='mmlesion.RandomSymmetry', flip_slices=False),
    _base_.pack,
]
test_pipeline = [dict(_base_.load, inputs=inputs), *_base_.test_pipeline[1:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
