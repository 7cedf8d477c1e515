"""Pointing, energy and hits on maps small enough to count."""

import numpy as np
import pytest

from mmlesion.evaluation.functional import (
    boxes_to_mask,
    energy_inside,
    lesion_hits,
    pointing_game,
)

# Two lesions: a corner of three pixels, and one pixel at the right.
MASK = np.array(
    [
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],  # joined by a corner
        [0, 0, 0, 0, 1],
    ],
    dtype=bool,
)
ACTIVATION = np.array([[0, 5, 0, 0, 0], [0, 0, 1, 0, 0], [3, 3, 0, 0, -2.0]])


def test_the_maximum_is_on_the_lesion():
    assert pointing_game(ACTIVATION, MASK) == 1
    assert pointing_game(ACTIVATION, ~MASK) == 0


def test_equal_maxima_share_the_hit():
    plateau = np.minimum(ACTIVATION, 3)  # (0, 1), (2, 0) and (2, 1)
    assert pointing_game(plateau, MASK) == pytest.approx(1 / 3)
    assert pointing_game(plateau[::-1, ::-1], MASK[::-1, ::-1]) == pytest.approx(1 / 3)
    assert pointing_game(np.zeros((3, 5)), MASK) == pytest.approx(4 / 15)


@pytest.mark.parametrize('tolerance_px, hit', [(1, 0), (1.4, 0), (1.5, 1), (15, 1)])
def test_a_miss_within_the_tolerance_is_a_hit(tolerance_px, hit):
    activation = np.zeros((5, 5))
    activation[1, 1] = 1
    mask = np.zeros((5, 5), dtype=bool)
    mask[2, 2] = True  # sqrt(2) away
    assert pointing_game(activation, mask, tolerance_px) == hit


def test_energy_counts_positive_values():
    # 5 + 1 of 5 + 1 + 3 + 3.
    assert energy_inside(ACTIVATION, MASK) == pytest.approx(6 / 12)
    assert energy_inside(np.full((3, 5), 2), MASK) == pytest.approx(4 / 15)
    assert energy_inside(-np.ones((3, 5)), MASK) == 0


def test_without_a_lesion_it_is_nan():
    nothing = np.zeros_like(MASK)
    assert np.isnan(pointing_game(ACTIVATION, nothing))
    assert np.isnan(energy_inside(ACTIVATION, nothing))
    assert lesion_hits(ACTIVATION, nothing, 2) == (0, 0, 2, 2)


def test_lesions_are_hit_by_peaks():
    # Spots of at least 2: {5} and {3, 3}. The peak 5 hits the first lesion.
    assert lesion_hits(ACTIVATION, MASK, 2) == (2, 1, 2, 1)
    # At 1 they are joined, by a corner.
    assert lesion_hits(ACTIVATION, MASK, 1) == (2, 1, 1, 0)
    # Everything is one spot; it covers the second lesion but does not peak there.
    assert lesion_hits(ACTIVATION, MASK, -2) == (2, 1, 1, 0)
    assert lesion_hits(ACTIVATION, MASK, 6) == (2, 0, 0, 0)
    # Of the spot {3, 3} both pixels are the peak; (2, 1) is sqrt(2) from (1, 2).
    assert lesion_hits(ACTIVATION, MASK, 2, tolerance_px=1.5) == (2, 1, 2, 0)
    # With three pixels' tolerance it hits the second lesion too.
    assert lesion_hits(ACTIVATION, MASK, 2, tolerance_px=3) == (2, 2, 2, 0)


def test_a_circle_is_inscribed():
    mask = boxes_to_mask([[1, 1, 5, 5]], (6, 7))
    assert mask.astype(int).tolist() == [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 1, 0, 0],
        [0, 0, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]


def test_in_a_long_box_the_circle_has_the_short_side():
    box = [[10, 20, 90, 60]]
    area = boxes_to_mask(box, (100, 100)).sum()
    assert area == pytest.approx(np.pi * 20**2, rel=0.01)
    area = boxes_to_mask(box, (100, 100), 'ellipse').sum()
    assert area == pytest.approx(np.pi * 20 * 40, rel=0.01)
    assert boxes_to_mask(box, (100, 100), 'box').sum() == 40 * 80


def test_small_lesions_do_not_vanish_and_large_ones_are_cut():
    mask = boxes_to_mask([[3.6, 2.1, 3.8, 2.3]], (4, 6))
    assert np.argwhere(mask).tolist() == [[2, 3]]
    assert boxes_to_mask([[-50, -50, 60, 60]], (4, 6)).all()
    assert not boxes_to_mask([[20, 20, 30, 30]], (4, 6)).any()
    assert not boxes_to_mask([], (4, 6)).any()


def test_several_boxes_are_joined():
    boxes = np.array([[0, 0, 2, 2], [3, 1, 5, 3]])
    both = boxes_to_mask(boxes, (4, 6))
    one, other = (boxes_to_mask(boxes[[i]], (4, 6)) for i in (0, 1))
    assert np.array_equal(both, one | other)


def test_bad_boxes_are_told():
    for box in ([5, 5, 5, 9], [5, 9, 8, 2], [0, 0, np.nan, 3], [0, 0, np.inf, 3]):
        with pytest.raises(ValueError, match='x2 > x1'):
            boxes_to_mask([box], (4, 6))
    with pytest.raises(ValueError, match="'ellipse' or 'box', got 'square'"):
        boxes_to_mask([], (4, 6), 'square')
