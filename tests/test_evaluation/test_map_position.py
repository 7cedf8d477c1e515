"""Position error of 3-D maps, on volumes of a few voxels."""

import numpy as np
import pytest

from mmlesion.evaluation.functional.map_position import map_position

ROW = (1, 1, 6)


def row(*values):
    return np.reshape(values, ROW)


def test_a_row_of_six_voxels_by_hand():
    """The structure is voxels 4 and 5, voxels are 2 mm wide, all may be looked at."""
    mask, everywhere = row(0, 0, 0, 0, 1, 1), np.ones(ROW)
    found = map_position(
        row(0.1, 0.9, 0.2, 0.1, 0.8, 0.7), mask, everywhere, (9, 9, 2), 4
    )
    assert found.distance_mm == 6  # voxel 1 to voxel 4
    assert found.chance_mm == pytest.approx((8 + 6 + 4 + 2) / 6)
    assert found.chance_within == pytest.approx(4 / 6)
    # From above: 1 marked 0 right, 2 and 1, 3 and 2: Dice 2 * 2 / (3 + 2)
    assert found.dice == pytest.approx(4 / 5)
    assert found.chance_dice == pytest.approx(2 * 2 / (6 + 2))


def test_a_maximum_inside_is_no_distance_away():
    found = map_position(
        row(0, 0, 0, 0, 0, 1), row(0, 0, 0, 0, 1, 1), np.ones(ROW), (1, 1, 1)
    )
    assert found.distance_mm == 0 and found.dice == pytest.approx(2 / 3)


def test_a_map_of_one_value_has_the_numbers_of_chance():
    found = map_position(np.ones(ROW), row(0, 0, 0, 0, 1, 1), np.ones(ROW), (1, 1, 1))
    assert found.distance_mm == pytest.approx(found.chance_mm)
    assert found.dice == pytest.approx(found.chance_dice)


def test_what_lies_elsewhere_is_missed_but_not_looked_at():
    """Voxels 0 to 3 may be looked at; the structure is voxels 3 and 4."""
    inside, mask = row(1, 1, 1, 1, 0, 0), row(0, 0, 0, 1, 1, 0)
    found = map_position(row(0, 0, 1, 2, 9, 9), mask, inside, (1, 1, 1))
    assert found.distance_mm == 0  # not 1: the nines are outside
    assert found.chance_mm == pytest.approx((3 + 2 + 1) / 4)
    assert found.dice == pytest.approx(2 / 3)  # voxel 4 cannot be marked
    assert found.chance_dice == pytest.approx(2 / (4 + 2))


def test_best_dice_is_that_of_all_thresholds():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 12, (4, 5, 6))
    mask, inside = rng.random(values.shape) < 0.3, rng.random(values.shape) < 0.8
    found = map_position(values, mask, inside, (1, 1, 1))
    dices = []
    for threshold in range(12):
        marked = (values >= threshold) & inside
        if marked.any():
            dices.append(2 * (marked & mask).sum() / (marked.sum() + mask.sum()))
    assert found.dice == pytest.approx(max(dices))


def test_what_makes_no_sense_is_said():
    ones, none = np.ones(ROW), np.zeros(ROW)
    for arguments, sentence in (
        ((ones, none, ones), 'no structure to find'),
        ((ones, ones, none), 'no region to search'),
        ((ones[0], ones, ones), 'must have the same shape'),
    ):
        with pytest.raises(ValueError, match=sentence):
            map_position(*arguments, (1, 1, 1))
