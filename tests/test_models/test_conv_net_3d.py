"""Small 3-D network on HU."""

import pytest
import torch

from mmlesion.models.backbones import ConvNet3D


def test_shape_and_gradient():
    net = ConvNet3D(channels=(2, 3, 4, 5))
    patches = torch.randn(2, 21, 40, 40, requires_grad=True)
    (features,) = net(patches * 300)
    assert features.shape == (2, 5, 10, 5, 5)
    features.sum().backward()
    assert all(each.grad is not None for each in net.parameters())


def test_values_outside_the_windows_do_not_matter():
    net = ConvNet3D([(0, 100)], channels=(2, 3, 4, 5)).eval()
    patches = torch.full((1, 5, 16, 16), 500.0)
    torch.testing.assert_close(net(patches)[0], net(patches * 0 + 100)[0])
    assert not torch.equal(net(patches)[0], net(patches * 0 + 50)[0])


@pytest.mark.parametrize(
    'arguments, sentence',
    [
        (dict(windows=[(5, 5)]), 'windows must be pairs'),
        (dict(windows=[]), 'windows must be pairs'),
        (dict(channels=(1, 2, 3)), 'expected four channels'),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        ConvNet3D(**arguments)
