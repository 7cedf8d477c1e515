# Only the key slice, repeated three times, as a control without depth information.
_base_ = './phantom_rfcn_3slice.py'
load_slices = dict(interval_mm=0)
train_pipeline = [dict(_base_.load_slices, interval_mm=0), *_base_.train_pipeline[1:]]
test_pipeline = [dict(_base_.load_slices, interval_mm=0), *_base_.test_pipeline[1:]]
tta_pipeline = [dict(_base_.load_slices, interval_mm=0), *_base_.tta_pipeline[1:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
