# Nodules of LIDC-IDRI, the central slice alone (D_1C).
_base_ = './lidc_11c.py'
inputs = '1c'
load = dict(inputs=inputs)
train_pipeline = [dict(_base_.load, inputs=inputs), *_base_.train_pipeline[1:]]
test_pipeline = [dict(_base_.load, inputs=inputs), *_base_.test_pipeline[1:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
