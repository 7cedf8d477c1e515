"""EigenCAM, against a singular value decomposition and pytorch-grad-cam."""

import pytest
import torch

from mmlesion.attribution import EigenCAM
from mmlesion.attribution.eigen import first_component


@pytest.mark.parametrize('shape', [(2, 3, 4, 5), (2, 30, 2, 3), (1, 4, 2, 3, 3)])
def test_is_the_first_component_of_an_svd(shape):
    features = torch.randn(shape)
    maps = first_component(features)
    flat = features.flatten(2)
    flat = flat - flat.mean(2, keepdim=True)
    u, s, v = torch.linalg.svd(flat, full_matrices=False)
    expected = s[:, 0, None] * v[:, 0]
    for found, each, centered in zip(maps.flatten(1), expected, flat):
        if (each * centered.mean(0)).sum() < 0:
            each = -each
        torch.testing.assert_close(found, each, atol=1e-4, rtol=1e-4)


def test_the_sign_follows_the_activity():
    """Where all channels are large, the map is large, also in a flipped image."""
    features = torch.zeros(1, 4, 6, 6)
    features[..., 1:3, 1:3] = torch.rand(1, 4, 1, 1) + 1
    for each in (features, features.flip(3), features.expand(1, 4, 6, 6) * 3):
        maps = first_component(each)
        inside = each[:, :1] > 0
        assert maps[inside].min() > 0 > maps[~inside].max()


def test_a_constant_layer_has_a_map_of_zeros():
    assert first_component(torch.ones(1, 4, 3, 3)).abs().max() == 0


def test_equals_pytorch_grad_cam_up_to_the_sign(net):
    cam = pytest.importorskip('pytorch_grad_cam', reason='grad-cam is not installed')
    x = torch.randn(3, 3, 8, 10)
    maps = EigenCAM(net, ['stage2'])(x)
    assert maps.shape == (3, 1, 4, 5)
    features = net.stage2(net.stage1(x)).detach().numpy()
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    expected = torch.as_tensor(get_2d_projection(features.copy())).float()
    assert cam.EigenCAM
    for found, each in zip(maps[:, 0], expected):
        sign = (found * each).sum().sign()
        torch.testing.assert_close(found, sign * each, atol=1e-4, rtol=1e-4)
