# configs/activation_maps/maps_deit_node21.py shrunk to the generated data. All numbers
# here are ours.
_base_ = [
    '../_base_/datasets/node21_phantom.py',
    '../_base_/schedules/node21_phantom.py',
    '../_base_/node21_attention_runtime.py',
]
model = dict(
    backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=64, num_layers=2, num_heads=4, feedforward_channels=128),
        in_channels=1,
        img_size=64,
        patch_size=8,
        # Small convolutions embed the patches, because there are no pretrained weights.
        patch_cfg=dict(conv_type='mmlesion.PatchStem'),
    ),
    neck=None,
    head=dict(type='VisionTransformerClsHead', num_classes=2, in_channels=64),
)
# At 1e-3 or more, the loss remains at ln 2 for thirty epochs or permanently.
optim_wrapper = dict(optimizer=dict(lr=5e-4))
train_cfg = dict(max_epochs=36, val_interval=4)
custom_hooks = [
    *_base_.custom_hooks,
    dict(**_base_.gradcam, layers='backbone.layers.1.ln1'),
]
