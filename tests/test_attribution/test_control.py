"""Control maps that are independent of the model."""

import pytest
import torch
from torch import nn

from mmlesion.attribution import CenterMap, EdgeMap, IntensityMap, RandomMap

MODEL = nn.Identity()


def test_noise_belongs_to_the_image_and_the_seed():
    x = torch.randn(3, 2, 5, 6)
    maps = RandomMap(MODEL)(x)
    assert maps.shape == (3, 1, 5, 6) and 0 <= maps.min() and maps.max() < 1
    assert len(maps.unique()) == maps.numel()
    torch.testing.assert_close(RandomMap(MODEL)(x[1:2]), maps[1:2])  # any batch
    assert not torch.equal(RandomMap(MODEL, seed=1)(x), maps)


def test_closeness_to_the_center():
    maps = CenterMap(MODEL)(torch.randn(2, 1, 3, 5))
    corner = 5**0.5
    expected = [
        [0, 1 - 2**0.5 / corner, 1 - 1 / corner],
        [1 - 2 / corner, 1 - 1 / corner, 1],
    ]
    torch.testing.assert_close(maps[1, 0, :2, :3], torch.tensor(expected))
    torch.testing.assert_close(maps, maps.flip(2, 3))


def test_intensity_is_the_middle_channel():
    x = torch.randn(2, 5, 4, 4)
    assert torch.equal(IntensityMap(MODEL)(x)[:, 0], x[:, 2])
    assert torch.equal(IntensityMap(MODEL, channel=-1)(x)[:, 0], x[:, 4])
    with pytest.raises(ValueError, match='there is no channel 5'):
        IntensityMap(MODEL, channel=5)(x)


def test_edges_are_those_of_sobel():
    ndimage = pytest.importorskip('scipy.ndimage')
    x = torch.rand(2, 3, 7, 6)
    maps = EdgeMap(MODEL)(x)
    for image, found in zip(x[:, 1].numpy(), maps[:, 0]):
        sobel = [ndimage.sobel(image, axis, mode='nearest') for axis in (0, 1)]
        expected = torch.from_numpy((sobel[0] ** 2 + sobel[1] ** 2) ** 0.5)
        torch.testing.assert_close(found, expected)
