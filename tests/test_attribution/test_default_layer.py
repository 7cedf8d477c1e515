"""Default target-layer selection."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmlesion.attribution import last_feature_layer


class Net(nn.Module):
    """Two stages, an average, a linear layer."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(5, 2)

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return self.fc(self.pool(x).flatten(1))


def test_the_last_layer_with_more_than_one_cell():
    model = Net()
    assert last_feature_layer(model, torch.rand(1, 3, 8, 8)) == 'stages.1'
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_without_maps_is_one_sentence():
    with pytest.raises(ValueError, match='Linear has no layer with feature maps'):
        last_feature_layer(nn.Linear(3, 2), torch.rand(1, 3))


def classifier(**cfg):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(dict(type='mmpretrain.ImageClassifier', **cfg))


LINEAR = dict(type='LinearClsHead', num_classes=2)
PLAIN = dict(neck=dict(type='GlobalAveragePooling'), head=LINEAR)
VIT = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=16)
CASES = dict(
    resnet=(
        'backbone.layer4',
        dict(
            backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=4),
            neck=PLAIN['neck'],
            head=dict(**LINEAR, in_channels=32),
        ),
    ),
    # the norm and ReLU behind the last block
    densenet=(
        'backbone.transitions.3',
        dict(
            backbone=dict(
                type='DenseNet',
                arch=dict(growth_rate=4, depths=[1, 1, 1, 1], init_channels=8),
            ),
            neck=PLAIN['neck'],
            head=dict(**LINEAR, in_channels=8),
        ),
    ),
    # behind the last attention only the class token counts: its input
    vit=(
        'backbone.layers.1',
        dict(
            backbone=dict(
                type='VisionTransformer', arch=VIT, img_size=64, patch_size=16
            ),
            head=dict(type='VisionTransformerClsHead', num_classes=2, in_channels=16),
        ),
    ),
    # the end of the decoder, not the deep code
    unet=(
        'backbone.residual',
        dict(
            backbone=dict(
                type='mmlesion.UNetResNet',
                in_channels=3,
                code_channels=16,
                unet_channels=4,
                res_channels=(4, 8),
            ),
            head=dict(type='mmlesion.CAMHead', num_classes=2, in_channels=8),
        ),
    ),
    # the weights of its class attention are no map
    patch_conv_net=(
        'backbone.blocks.1',
        dict(
            backbone=dict(
                type='mmlesion.PatchConvNet',
                arch=dict(embed_dims=16, depth=2, init_scale=1e-2),
            ),
            head=dict(**LINEAR, in_channels=16),
        ),
    ),
)


@pytest.mark.parametrize('name', CASES)
def test_of_known_classifiers(name):
    pytest.importorskip('mmpretrain', reason='classifiers of mmpretrain')
    layer, cfg = CASES[name]
    model = classifier(**cfg)
    assert last_feature_layer(model, torch.rand(1, 3, 64, 64)) == layer


def test_slices_folded_into_the_batch():
    """The (N, M, C, h, w) that leaves the backbone is no feature map."""
    model = nn.Module()
    model.backbone = MODELS.build(
        dict(
            type='mmlesion.SliceBackbone',
            backbone=dict(type='mmdet.ResNet', depth=18, base_channels=4),
        )
    )
    model.forward = lambda x: model.backbone(x)
    found = last_feature_layer(model, torch.rand(1, 9, 64, 64))
    assert found == 'backbone.backbone#3'
