"""Pixels inside outlines, matching of the readers' nodules, and their consensus."""

import math

import numpy as np
import pytest

from mmlesion.datasets.sources.lidc_consensus import (
    equivalent_diameter,
    fill_nodule,
    malignancy_label,
    match_readers,
    mean_malignancy,
    overlap,
    reader_votes,
)
from mmlesion.datasets.sources.lidc_xml import Contour, ReaderNodule


def square(x0, y0, side, z=0.0, included=True):
    """An outline around ``side`` x ``side`` pixels from (x0, y0)."""
    low, high = -1, side
    points = (
        [(i, low) for i in range(low, high)]
        + [(high, i) for i in range(low, high)]
        + [(i, high) for i in range(high, low, -1)]
        + [(low, i) for i in range(high, low, -1)]
    )
    return Contour(z, np.array(points, np.int32) + [x0, y0], included)


def nodule(reader, *contours, malignancy=3, name='a'):
    return ReaderNodule(reader, name, dict(malignancy=malignancy), contours)


def test_pixels_on_an_outline_do_not_count():
    # An outline around 3 x 3 pixels, in two slices: 18 pixels
    mask = fill_nodule(nodule(0, square(5, 7, 3), square(5, 7, 3, z=2.5)))
    assert mask.size == 18 and set(mask.slices) == {0.0, 2.5}
    assert mask.box_px == (4, 6, 9, 11)
    expected = np.zeros((5, 5), bool)
    expected[1:4, 1:4] = True
    np.testing.assert_array_equal(mask.slices[0.0], expected)


def test_a_hole_is_taken_out_also_if_it_comes_first():
    # 5 x 5 pixels less the one in the middle
    mask = fill_nodule(nodule(0, square(2, 2, 1, included=False), square(0, 0, 5)))
    assert mask.size == 24 and not mask.slices[0.0][3, 3]


def test_two_outlines_in_one_slice_are_united():
    assert fill_nodule(nodule(0, square(0, 0, 2), square(5, 0, 2))).size == 8


def test_outlines_that_enclose_nothing_are_taken_themselves():
    points = np.array([(3, 3), (4, 3), (4, 4), (3, 4)], np.int32)
    assert fill_nodule(nodule(0, Contour(0.0, points))).size == 4
    # ... but not where another slice has something inside
    assert (
        fill_nodule(nodule(0, Contour(0.0, points), square(3, 3, 2, z=1.0))).size == 4
    )


def test_overlap_counts_common_pixels_of_common_slices():
    one = fill_nodule(nodule(0, square(0, 0, 4), square(0, 0, 4, z=1.0)))
    other = fill_nodule(nodule(1, square(2, 3, 4), square(0, 0, 4, z=2.0)))
    assert overlap(one, other) == overlap(other, one) == 2 * 1
    assert overlap(one, fill_nodule(nodule(1, square(20, 20, 3)))) == 0


def test_readers_that_share_a_pixel_are_matched_and_others_not():
    a, b, c = (
        nodule(0, square(0, 0, 4)),
        nodule(1, square(3, 3, 4)),
        nodule(2, square(30, 30, 4)),
    )
    assert match_readers([a, b, c]) == [(a, b), (c,)]
    assert match_readers([]) == []


def test_the_same_place_in_another_slice_is_another_nodule():
    a, b = nodule(0, square(0, 0, 4)), nodule(1, square(0, 0, 4, z=2.5))
    assert match_readers([a, b]) == [(a,), (b,)]


def test_a_group_takes_one_nodule_of_a_reader_the_one_with_the_best_dice():
    # Reader 1 drew two small ones where reader 0 drew a large one: Dice is
    # 2 * 4 / (36 + 4) with the one and 2 * 9 / (36 + 9) with the other
    large = nodule(0, square(0, 0, 6))
    two, three = nodule(1, square(0, 0, 2)), nodule(1, square(3, 3, 3))
    assert match_readers([large, two, three]) == [(large, three), (two,)]


def test_two_groups_with_a_common_reader_stay_apart():
    # A chain: 0 and 1 agree here, 2 and 0 there, and 1 and 2 touch between
    here = [nodule(0, square(0, 0, 6)), nodule(1, square(0, 0, 7))]
    there = [nodule(2, square(6, 6, 6)), nodule(0, square(7, 7, 6))]
    assert match_readers([*here, *there]) == [tuple(here), (there[1], there[0])]


@pytest.mark.parametrize(
    'ratings, mean, label',
    [
        ((4, 4, 2), 10 / 3, 1),
        ((2, 3, 3, 3), 11 / 4, 0),
        ((3, 3, 3), 3, None),
        ((1, 5, 3, 3), 3, None),
        ((5, 5), 5, None),
        ((1,), 1, None),
    ],
)
def test_the_label_is_the_papers(ratings, mean, label):
    group = [
        nodule(reader, square(0, 0, 3), malignancy=one)
        for reader, one in enumerate(ratings)
    ]
    assert mean_malignancy(group) == pytest.approx(mean, abs=1e-12)
    assert malignancy_label(group) == label


def test_the_equivalent_diameter_of_a_ball_is_its_diameter():
    assert equivalent_diameter(4 / 3 * math.pi * 5**3) == pytest.approx(10, abs=1e-12)


def test_votes_are_counted_per_reader():
    # Reader 0 has two outlines of the same pixels: one vote, not two
    group = [
        nodule(0, square(1, 1, 3), square(1, 1, 3)),
        nodule(1, square(2, 2, 3)),
        nodule(2, square(1, 1, 2, z=5.0)),
    ]
    votes, box_px = reader_votes(group, {0.0: 4, 5.0: 5}.get)
    assert box_px == (0, 0, 6, 6) and set(votes) == {4, 5}
    assert votes[4].max() == 2 and (votes[4] == 2).sum() == 4
    assert (votes[4] > 0).sum() == 9 + 9 - 4
    # At least half of three readers is two of them
    assert (2 * votes[4] >= 3).sum() == 4 and (2 * votes[5] >= 3).sum() == 0
    assert set(reader_votes(group, {0.0: 4}.get)[0]) == {4}
