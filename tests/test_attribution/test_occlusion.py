"""Occlusion of windows and of whole slices."""

import pytest
import torch
from torch import nn

from mmlesion.attribution import Occlusion, SliceImportance


class Sum(nn.Module):
    """Scores: the weighted sum of all pixels, and the square of that."""

    def __init__(self, weight):
        super().__init__()
        self.register_buffer('weight', weight)

    def forward(self, x):
        total = (x * self.weight).flatten(1).sum(1)
        return torch.stack([total, total**2], 1)


def test_worked_by_hand():
    """A row of 1 2 4, windows of two: 1+2 and 2+4 are lost; the middle has both."""
    image = torch.tensor([[[[1.0, 2.0, 4.0]]]])
    maps = Occlusion(Sum(torch.ones(1)), window=(1, 2), stride=1)(image, [[0, 1]])
    assert maps[0, 0, 0].tolist() == [3, 4.5, 6]
    # squares: 49 - 16 and 49 - 1
    assert maps[0, 1, 0].tolist() == [33, 40.5, 48]


def test_a_baseline_takes_the_place_of_the_window():
    image = torch.tensor([[[[1.0, 2.0, 6.0]]]])
    model = Sum(torch.ones(1))
    maps = Occlusion(model, window=1, stride=1, baseline=1.0)(image, 0)
    assert maps[0, 0, 0].tolist() == [0, 1, 5]
    maps = Occlusion(model, window=1, stride=1, baseline='mean')(image, 0)
    assert maps[0, 0, 0].tolist() == [-2, -1, 3]


@pytest.mark.parametrize('window, stride', [(3, 3), (3, 2), ((2, 4), (1, 3))])
def test_equals_captum(net, window, stride):
    attr = pytest.importorskip('captum.attr', reason='captum is not installed')
    x, target = torch.randn(2, 3, 7, 9), torch.tensor([1, 4])
    pair = (window, window) if isinstance(window, int) else window
    steps = (stride, stride) if isinstance(stride, int) else stride
    expected = attr.Occlusion(net).attribute(
        x, (3, *pair), strides=(3, *steps), target=target
    )
    maps = Occlusion(net, window, stride, batch_size=5)(x, target)
    torch.testing.assert_close(maps[:, 0], expected[:, 0], atol=1e-5, rtol=1e-4)


def test_volumes_have_windows_too(net3d):
    maps = Occlusion(net3d, window=3)(torch.randn(1, 3, 4, 6, 8), 1)
    assert maps.shape == (1, 1, 4, 6, 8) and maps.abs().max() > 0


def test_importance_of_slices_worked_by_hand():
    """Three slices of two pixels: 1+1, 2+2 and 0; the score is their sum."""
    image = torch.tensor([1.0, 2.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 1, 2)
    model = Sum(torch.ones(1))
    for how in ('occlusion', 'gradient'):
        found = SliceImportance(model, how)(image, 0)
        assert found.shape == (1, 1, 3)
        torch.testing.assert_close(found[0, 0], torch.tensor([2.0, 4.0, 0.0]))
    # not additive: 36 - 16, 36 - 4, 0; and 36 * (1/3, 2/3, 0), which sum to 36
    found = SliceImportance(model, 'occlusion')(image, 1)
    torch.testing.assert_close(found[0, 0], torch.tensor([20.0, 32.0, 0.0]))
    found = SliceImportance(model, 'gradient')(image, 1)
    torch.testing.assert_close(found[0, 0], torch.tensor([12.0, 24.0, 0.0]))


def test_slices_of_several_channels_and_of_volumes():
    x = torch.randn(2, 6, 2, 2)
    model = Sum(torch.randn(6, 1, 1))
    single = SliceImportance(model)(x, 0)
    triple = SliceImportance(model, channels_per_slice=3)(x, 0)
    torch.testing.assert_close(triple, single.unflatten(2, (2, 3)).sum(3))
    volume = x[:, None]  # (B, 1, D, H, W)
    torch.testing.assert_close(SliceImportance(model)(volume, 0), single)
    torch.testing.assert_close(SliceImportance(model, 'gradient')(volume, 0), single)


def test_bad_input_is_one_sentence(net):
    x = torch.randn(1, 3, 8, 8)
    with pytest.raises(ValueError, match='do not fit an image of'):
        Occlusion(net, window=9)(x, 0)
    with pytest.raises(ValueError, match='would never be covered'):
        Occlusion(net, window=2, stride=3)(x, 0)
    with pytest.raises(ValueError, match='must be one number for each'):
        Occlusion(net, window=(2, 2, 2))(x, 0)
    with pytest.raises(ValueError, match='returned 1 scores for'):
        Occlusion(net, window=4)(x, lambda output: output.sum())
    with pytest.raises(ValueError, match='not divisible into slices of 2'):
        SliceImportance(net, channels_per_slice=2)(x, 0)
    with pytest.raises(ValueError, match="'occlusion' or 'gradient', got 'x'"):
        SliceImportance(net, 'x')
