"""Refinement of a candidate that a vessel or the wall is attached to."""

import numpy as np
import pytest

from mmlesion.segmentation import refine_candidate

ROWS, COLUMNS = np.mgrid[:64, :80]


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.fixture
def attached():
    """Nodule of radius 9 with a vessel of 5 pixels on either side."""
    nodule = np.hypot(ROWS - 30, COLUMNS - 40) <= 9
    vessel = np.abs(ROWS - 30) <= 2
    image = np.where(nodule | vessel, 20.0, -850.0)
    return image + np.random.default_rng(0).normal(0, 20, image.shape), nodule, vessel


@pytest.mark.parametrize('method, least', [('opening', 0.97), ('random_walker', 0.85)])
def test_a_vessel_is_cut_off(attached, method, least):
    for turn in (0, 1):
        image, nodule, vessel = (np.rot90(each, turn) for each in attached)
        refined = refine_candidate(image, nodule | vessel, method)
        assert refined.dtype == bool and refined.shape == image.shape
        assert dice(refined, nodule) > max(least, dice(nodule | vessel, nodule))


@pytest.mark.parametrize('method', ['opening', 'random_walker'])
def test_a_round_candidate_stays(attached, method):
    image, nodule, _ = attached
    assert dice(refine_candidate(image, nodule, method), nodule) > 0.93
    empty = np.zeros_like(nodule)
    assert not refine_candidate(image, empty, method).any()
    empty[5, 5] = True
    assert np.array_equal(refine_candidate(image, empty, method), empty)
    border = np.zeros_like(nodule)
    border[:20, :20] = True
    kept = refine_candidate(np.where(border, 20.0, -850.0), border, method)
    assert dice(kept, border) > 0.9


def test_an_unknown_method_is_refused(attached):
    with pytest.raises(ValueError, match="opening, random_walker, got 'crf'"):
        refine_candidate(attached[0], attached[1], 'crf')
