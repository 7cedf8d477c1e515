"""Small 3-D network on HU."""

import pytest
import torch

from mmlesion.models.backbones import ConvNet3D


def test_shape_and_gradient():
    net = ConvNet3D(channels=(2, 3, 4, 5))
    patches = torch.randn(2, 21, 40, 40, requires_grad=True)
    (features,) = net(patches * 300)
    assert features.shape == (2, 5, 1, 1, 1)
    features.sum().backward()
    assert all(each.grad is not None for each in net.parameters())


def test_values_outside_the_windows_do_not_matter():
    net = ConvNet3D([(0, 100)], channels=(2, 3, 4, 5), patch_shape=(5, 16, 16)).eval()
    patches = torch.full((1, 5, 16, 16), 500.0)
    torch.testing.assert_close(net(patches)[0], net(patches * 0 + 100)[0])
    assert not torch.equal(net(patches)[0], net(patches * 0 + 50)[0])


def test_the_place_in_the_patch_matters():
    """A mean over the grid would give equal features for shifts by whole cells."""
    torch.manual_seed(0)
    net = ConvNet3D([(0, 100)], channels=(4, 4, 4, 4), patch_shape=(8, 64, 64)).eval()
    patches = torch.zeros(2, 8, 64, 64)
    patches[0, :, 28:36, 28:36] = patches[1, :, 28:36, 44:52] = 100
    center, side = net(patches)[0]
    assert (center - side).abs().max() > 1e-4


@pytest.mark.parametrize(
    'arguments, sentence',
    [
        (dict(windows=[(5, 5)]), 'windows must be pairs'),
        (dict(windows=[]), 'windows must be pairs'),
        (dict(channels=(1, 2, 3)), 'expected four channels'),
        (dict(patch_shape=(21, 36, 40)), r'divisible by 8, got \(21, 36, 40\)'),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        ConvNet3D(**arguments)
