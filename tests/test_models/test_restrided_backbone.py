"""Backbones of the host with finer maps: 32 x 32 becomes 16 x 16, not 1 x 1."""

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

pytest.importorskip('mmpretrain', reason='backbones of mmpretrain are changed')
from mmlesion.models.backbones import RestridedBackbone  # noqa: E402

VGG = dict(type='VGG', depth=11)
DENSENET = dict(
    type='DenseNet', arch=dict(growth_rate=4, depths=[1, 1, 1, 1], init_channels=8)
)


@pytest.fixture(autouse=True)
def classification_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def test_vgg_without_its_last_four_poolings():
    changed = RestridedBackbone(
        VGG,
        in_channels=2,
        remove=['features.3', 'features.6', 'features.9', 'features.12'],
    )
    plain = RestridedBackbone(VGG)
    x = torch.randn(1, 2, 32, 32)
    assert changed(x)[0].shape == (1, 512, 16, 16)
    assert plain(torch.randn(1, 3, 32, 32))[0].shape == (1, 512, 1, 1)
    # names stay: weights of the one load into the other
    keys = plain.state_dict().keys()
    assert keys == changed.state_dict().keys()


def test_poolings_of_stride_one_keep_grid_and_place():
    backbone = RestridedBackbone(
        DENSENET, in_channels=1, remove=['stem.3'], unit_stride=['transitions.0.pool']
    )
    pool = backbone.backbone.transitions[0].pool
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 9
    assert torch.equal(pool(x)[0, 0, 1:4, 1:4], torch.ones(3, 3))
    assert torch.equal(pool(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))
    assert backbone(torch.randn(1, 1, 32, 32))[0].shape[2:] == (4, 4)


def test_other_input_channels_change_the_first_convolution_alone():
    before = RestridedBackbone(VGG).backbone
    after = RestridedBackbone(VGG, in_channels=21).backbone
    different = [
        name
        for name, p in after.named_parameters()
        if p.shape != before.get_parameter(name).shape
    ]
    assert different == ['features.0.conv.weight']
    first = after.features[0].conv
    assert isinstance(first, nn.Conv2d) and first.weight.shape == (64, 21, 3, 3)


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(remove=['features.33']),
        dict(remove=['features.1']),
        dict(unit_stride=['features.2']),
    ],
)
def test_a_wrong_name_is_answered_with_the_closest(kwargs):
    with pytest.raises(
        ValueError, match='is not a pooling layer of VGG .* closest names: '
    ):
        RestridedBackbone(dict(type='VGG', depth=16), **kwargs)
