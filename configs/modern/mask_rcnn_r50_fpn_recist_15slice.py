# mask_rcnn_r50_fpn_15slice.py with the lesion type as an auxiliary target.
# In addition to FROC, the test measures both diameters of the predicted masks.
# DeepLesion's official training split has no types, so the loss of the type is zero.
_base_ = './mask_rcnn_r50_fpn_15slice.py'
model = dict(
    roi_head=dict(type='mmlesion.LesionTypeRoIHead', num_types=8, type_loss_weight=0.2)
)
train_pipeline = [
    *_base_.train_pipeline[:2],
    # The boundary follows the image between the ends of the diameters
    dict(type='mmlesion.RECISTToMask', refine='grabcut'),
    _base_.train_pipeline[3],
    dict(type='mmlesion.LoadLesionTypes'),
    *_base_.train_pipeline[4:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_evaluator = [
    dict(type='mmlesion.FROCMetric'),
    dict(type='mmlesion.RECISTMetric'),
]
