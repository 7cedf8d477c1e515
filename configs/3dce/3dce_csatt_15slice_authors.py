# 3DCE_CS_Att, 15 slices, as close to the authors' code (truetqy/lesion_det_dual_att on
# CADLab/lesion_detector_3DCE) as a config allows. Differences from
# 3dce_csatt_15slice.py:
#
# - interpolation: their weights for neighbors beyond the first are those of the first
#   (at a slice interval of 5 mm, slices wanted at 2, 4, 6, 8 mm lie at 2, 2, 7, 7 mm);
# - pooling of RoIs: quantized position-sensitive pooling, not RoIAlign;
# - attention: the convolutions are initialized from N(0, 0.01), not with zeros.
#
# Remaining differences, which a config cannot remove:
# - the RPN and its losses run on the key image alone; theirs runs on all images and
#   ignores the others; the result is the same;
# - ground truth is not padded with boxes (0, 0, 0, 0) that become targets;
# - sampled RoIs are not repeated to fill 32, nor proposals to fill 300;
# - boxes are scaled by their outer edges; theirs scales the numbers of the first and
#   the last pixel, which makes a box (1 - scale) pixels wider and higher;
# - proposals under 8 px of the resized image are dropped; theirs scales the 8 px.
#
# The dropout of 0.5 in their code belongs only to their Faster R-CNN, see
# faster_rcnn_3slice.py. Their code trains with 21 slices; the paper's tables have 15.
_base_ = '../3dce_csatt_15slice.py'

normal = dict(type='Normal', layer='Conv2d', std=0.01)
model = dict(
    neck=dict(contextual=dict(init_cfg=normal), spatial=dict(init_cfg=normal)),
    roi_head=dict(roi_op='pool'),
)
load_slices = dict(interpolation='legacy')
legacy = dict(_base_.load_slices, interpolation='legacy')
train_pipeline = [legacy, *_base_.train_pipeline[1:]]
test_pipeline = [legacy, *_base_.test_pipeline[1:]]
tta_pipeline = [legacy, *_base_.tta_pipeline[1:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
