"""Resizing and normalization of maps, compared with manually computed values."""

import pytest
import torch

from mmlesion.attribution import normalize_map, resize_map

MAPS = torch.tensor([[[[-1.0, 0.0, 3.0]]], [[[2.0, 2.0, 2.0]]]])  # (2, 1, 1, 3)


@pytest.mark.parametrize(
    'mode, kwargs, expected',
    [
        ('none', {}, [[-1.0, 0.0, 3.0], [2.0, 2.0, 2.0]]),
        # a constant map has no strongest place
        ('image', {}, [[0.0, 1 / 4, 1.0], [0.0, 0.0, 0.0]]),
        ('fixed', dict(value_range=(0, 4)), [[0.0, 0.0, 3 / 4], [1 / 2] * 3]),
    ],
)
def test_ranges(mode, kwargs, expected):
    found = normalize_map(MAPS, mode, **kwargs)
    torch.testing.assert_close(found[:, 0, 0], torch.tensor(expected))


def test_sizes_keep_the_centers_of_cells():
    maps = torch.tensor([[[[0.0, 4.0]]]])
    assert resize_map(maps, (1, 4)).tolist() == [[[[0.0, 1.0, 3.0, 4.0]]]]
    assert resize_map(maps, (1, 4), 'nearest').tolist() == [[[[0.0, 0.0, 4.0, 4.0]]]]
    assert resize_map(torch.ones(2, 3, 2, 2, 2), (4, 5, 6)).shape == (2, 3, 4, 5, 6)


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match='mode must be one of'):
        normalize_map(MAPS, 'batch')
    with pytest.raises(ValueError, match='low < high'):
        normalize_map(MAPS, 'fixed', (1, 1))
    with pytest.raises(ValueError, match='one positive size for each'):
        resize_map(MAPS, (4, 4, 4))
    with pytest.raises(ValueError, match='mode must be one of'):
        resize_map(MAPS, (4, 4), 'cubic')
