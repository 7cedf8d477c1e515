"""HiResCAM of two layers, combined by the geometric mean."""

import pytest
import torch
import torchvision
from torch import nn

from mmlesion.attribution import (
    HiResCAM,
    TwoScaleCAM,
    finer_feature_layer,
    resize_map,
)


@pytest.fixture
def model():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    ).eval()


@pytest.mark.parametrize('layers', [['4'], ['4', '1']])
def test_the_map_is_the_geometric_mean_of_both_layers(model, layers):
    images = torch.rand(2, 1, 12, 16)
    with TwoScaleCAM(model, layers) as cam:
        found = cam(images, 1)
    with HiResCAM(model, ['4', '1'], relu=True) as cam:
        each = cam(images, 1)
    expected = (resize_map(each['4'], (12, 16)) * each['1']).sqrt()
    assert found.shape == (2, 1, 12, 16)
    assert found.any()
    torch.testing.assert_close(found, expected)


def test_without_a_finer_layer_it_is_hirescam(model):
    images = torch.rand(1, 1, 12, 12)
    with TwoScaleCAM(model, ['0']) as cam, HiResCAM(model, ['0'], relu=True) as other:
        torch.testing.assert_close(cam(images, 0), other(images, 0))


def test_the_finer_layer_runs_before_the_layer(model):
    images = torch.rand(1, 1, 12, 12)
    assert finer_feature_layer(model, images, '4') == '1'
    assert finer_feature_layer(model, images, '1') is None
    resnet = torchvision.models.resnet18().eval()
    picture = torch.rand(1, 3, 64, 64)
    assert finer_feature_layer(resnet, picture, 'layer4') == 'layer3'
    assert finer_feature_layer(resnet, picture, 'layer2.1') == 'layer1'


def test_maps_that_do_not_fit_are_named(model):
    with pytest.raises(ValueError, match='one layer with a finer one, but got 3'):
        TwoScaleCAM(model, ['4', '1', '0'])
