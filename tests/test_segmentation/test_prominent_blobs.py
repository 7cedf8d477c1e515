"""Blobs of an activation map: their order, their edges, the scope inside a scope."""

import numpy as np
import pytest

from mmlesion.segmentation import prominent_blobs, scope_within

ROWS, COLUMNS = np.mgrid[:60, :80]


def bump(y, x, height, sigma=4.0):
    return height * np.exp(-((ROWS - y) ** 2 + (COLUMNS - x) ** 2) / (2 * sigma**2))


def test_a_bump_is_cut_at_half_its_height():
    (blob,) = prominent_blobs(bump(20, 30, 8.0) - 3.0)
    assert blob.peak == (20, 30)
    assert blob.height == pytest.approx(8.0, abs=1e-3)
    # Half the height of a Gaussian is sigma * sqrt(2 ln 2) = 4.71 px from its peak
    np.testing.assert_array_equal(
        blob.mask, np.hypot(ROWS - 20, COLUMNS - 30) <= 4 * (2 * np.log(2)) ** 0.5
    )


@pytest.mark.parametrize('offset, scale', [(0, 1), (-7, 1), (5, 3), (-1e3, 1e-3)])
def test_only_the_shape_of_the_map_counts(offset, scale):
    nodules = bump(20, 20, 5.0) + bump(40, 60, 9.0)
    expected = prominent_blobs(nodules)
    found = prominent_blobs(offset + scale * nodules)
    assert [each.peak for each in found] == [(40, 60), (20, 20)]
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one.mask, other.mask)
        assert one.height == pytest.approx(scale * other.height)


def test_touching_bumps_are_divided_and_ripples_are_not():
    two = bump(30, 30, 9.0) + bump(30, 42, 8.0)
    first, second = prominent_blobs(two)
    assert not (first.mask & second.mask).any()
    assert first.mask[30, 30] and second.mask[30, 42]
    # The pass between them is at about a third of their height; asked to rise more
    # above it than they do, they are one
    (merged,) = prominent_blobs(two, prominence=0.75)
    assert merged.mask[30, 30] and merged.mask[30, 42]
    ripples = 0.5 * np.cos(ROWS) * np.cos(COLUMNS)
    assert len(prominent_blobs(bump(30, 30, 9.0) + ripples)) == 1


def test_a_blob_may_touch_the_border():
    (blob,) = prominent_blobs(bump(0, 79, 2.0))
    assert blob.peak == (0, 79) and blob.mask[0, 79] and blob.mask[:3, -3:].all()


@pytest.mark.parametrize('within', [0.0, 6.0])
def test_a_ring_is_filled_but_swallows_no_other_blob(within):
    distance = np.hypot(ROWS - 30, COLUMNS - 40)
    ring = 9.0 * np.exp(-((distance - 15) ** 2) / 18) + 1e-3 * COLUMNS
    first, *rest = prominent_blobs(ring + bump(30, 40, within, 2.0))
    assert first.mask[30, 30] and first.mask[30, 50]
    assert len(rest) == (within > 0)
    assert first.mask[30, 40] == (within == 0)
    assert not any((first.mask & other.mask).any() for other in rest)


def test_a_flat_map_has_no_blob():
    assert prominent_blobs(np.full((8, 8), 3.0)) == []
    valley = np.zeros((8, 8))
    valley[3, 3] = -1
    assert prominent_blobs(valley) == []


def test_scope_of_a_finer_map():
    coarse = prominent_blobs(bump(20, 30, 5.0, sigma=8))[0].mask
    inside, outside = bump(22, 28, 5.0, sigma=2), bump(50, 60, 9.0, sigma=2)
    scope = scope_within(inside + outside, coarse)
    assert scope[22, 28] and scope.sum() < coarse.sum() / 4
    assert not (scope & ~coarse).any()
    np.testing.assert_array_equal(scope_within(outside, coarse), coarse)
    np.testing.assert_array_equal(scope_within(np.zeros((60, 80)), coarse), coarse)


@pytest.mark.parametrize(
    'call, words',
    [
        (lambda: prominent_blobs(np.zeros((2, 3, 4))), r'\(H, W\) of finite'),
        (lambda: prominent_blobs(np.full((4, 4), np.nan)), 'finite'),
        (lambda: prominent_blobs(np.zeros((4, 4)), level=1.0), 'level must be between'),
        (lambda: prominent_blobs(np.zeros((4, 4)), prominence=0), 'prominence must be'),
        (lambda: scope_within(np.zeros((4, 4)), np.zeros((4, 5), bool)), 'one size'),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
