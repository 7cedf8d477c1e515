# HESAM with a second branch that sees the same slices at 1 mm per pixel, fused late.
# The patches of Lei et al. are scaled to the diameter of the nodule and lose its size.
# All numbers here are ours.
_base_ = '../hesam_lidc_11c.py'
load = dict(_base_.load, physical=True)
window, pack = _base_.window, _base_.pack
train_pipeline = [
    load,
    window,
    dict(type='mmlesion.RandomSymmetry', flip_slices=True, num_scales=2),
    pack,
]
test_pipeline = [load, window, pack]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmlesion.TwoScaleBackbone',
        in_channels=22,
        backbone=dict(type='mmlesion.UNetResNet'),
        side=dict(
            type='ResNet_CIFAR',
            depth=18,
            stem_channels=16,
            base_channels=16,
            out_indices=(3,),
        ),
    ),
    # Each branch is trained alone as well. Chosen on validation folds (docs/results.md).
    head=dict(side_channels=128, branch_loss_weight=0.5),
)
# Chosen on validation folds, as the branch losses.
train_cfg = dict(max_epochs=20)
