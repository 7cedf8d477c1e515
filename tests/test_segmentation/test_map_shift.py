"""Translation of maps, and screening with translated maps."""

import numpy as np
import torch
from torch import nn

from mmlesion.segmentation import CandidateScreen, chance_masks, shift_map


def test_content_moves_and_the_border_is_repeated():
    maps = torch.arange(12.0).reshape(3, 4)
    moved = shift_map(maps, (1.2, -2))
    expected = [[2, 3, 3, 3], [2, 3, 3, 3], [6, 7, 7, 7]]
    assert moved.tolist() == expected
    assert torch.equal(shift_map(maps[None, None], (0.4, 0)), maps[None, None])
    assert shift_map(maps, (9, 9)).unique().tolist() == [0.0]


def test_changes_are_counted_where_the_scope_lies_in_the_slice():
    """A network that responds 4 pixels above its input."""
    layer = nn.Conv2d(1, 1, 9, padding=4, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 8, 4] = 1.0
    image = torch.zeros(1, 40, 40)
    image[0, 20:24, 20:24], image[0, 32:35, 5:8] = 2.0, 3.0
    candidates = np.zeros((40, 40), int)
    candidates[20:24, 20:24], candidates[32:35, 5:8] = 1, 2
    fill = torch.zeros(1)
    with torch.no_grad():
        screen = CandidateScreen([layer], torch.ones(1), image, fill, (4, 0))
        assert torch.equal(screen.map(), image[0])
        scope = np.zeros((40, 40), bool)
        scope[18:26, 18:26] = True
        assert screen.changes(candidates, scope).tolist() == [16 * 4.0, 0.0]
        assert screen.changes(candidates).tolist() == [16 * 4.0, 9 * 9.0]
        without = screen.without(candidates == 2).map()
    assert without[32:35].sum() == 0 and without[20:24].sum() == 32


def test_large_and_small_candidates_give_the_changes_of_one_batch():
    torch.manual_seed(0)
    layers = nn.ModuleList(
        [nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, padding=1)]
    ).eval()
    image = torch.randn(1, 96, 96)
    candidates = np.zeros((96, 96), int)
    candidates[:90, :8], candidates[40:44, 50:54], candidates[70:75, 30:34] = 1, 2, 3
    weights = torch.randn(4)
    with torch.no_grad():
        screen = CandidateScreen(layers, weights, image, torch.zeros(1))
        found = screen.changes(candidates)
        for number, change in enumerate(found, 1):
            difference = screen.map() - screen.without(candidates == number).map()
            np.testing.assert_allclose(change, difference.square().sum(), rtol=1e-4)


def test_segmentations_of_chance_do_not_depend_on_other_slices():
    rng = np.random.default_rng(0)
    image = rng.normal(-850, 20, (64, 64))
    image[30:36, 30:36] = image[5:9, 50:54] = 40
    means = np.array([-850.0, -500.0, 40.0, 300.0])
    masks = chance_masks(image, means, 100.0**2, 10)
    assert set(masks) == {'middle_disc', 'random_disc', 'whole_image'}
    assert masks['middle_disc'].sum() == 36 and masks['whole_image'].sum() == 36 + 16
    again = chance_masks(image, means, 100.0**2, 10)
    assert all(np.array_equal(masks[name], again[name]) for name in masks)
    nothing = chance_masks(np.full((64, 64), -850.0), means, 100.0**2, 10)
    assert not any(mask.any() for mask in nothing.values())
