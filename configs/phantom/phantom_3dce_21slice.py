# configs/3dce/3dce_21slice.py shrunk to the generated data.
_base_ = './phantom_3dce_15slice.py'
load_slices = dict(num_slices=21)
train_pipeline = [dict(_base_.load_slices, num_slices=21), *_base_.train_pipeline[1:]]
test_pipeline = [dict(_base_.load_slices, num_slices=21), *_base_.test_pipeline[1:]]
tta_pipeline = [dict(_base_.load_slices, num_slices=21), *_base_.tta_pipeline[1:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
model = dict(roi_head=dict(num_images=7))
