"""Candidates in a scope: on drawn slices, simulated and real nodules."""

from pathlib import Path

import numpy as np
import pytest

from mmlesion.ct import read_volume
from mmlesion.phantom import Patient, simulate_nodule_scan
from mmlesion.segmentation import nodule_candidates, phase_means

MEANS = (-860.0, -480.0, -60.0, 200.0)
SMOOTHNESS = 100.0**2
ROWS, COLUMNS = np.mgrid[:64, :64]
REAL = Path(__file__).resolve().parents[2] / '../shared/data/lidc/voi'


def disc(y, x, radius):
    return np.hypot(ROWS - y, COLUMNS - x) <= radius


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def scope_of(mask, factor):
    """The circle around a mask, larger by a factor."""
    places = np.argwhere(mask)
    center = (places.min(0) + places.max(0)) / 2
    radius = np.hypot(*(places - center).T).max() + 0.5
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    return np.hypot(rows - center[0], columns - center[1]) <= factor * radius


@pytest.fixture
def slice_hu():
    """Lung with a nodule, a smaller one that is ground glass, and chest wall."""
    slice_hu = np.random.default_rng(0).normal(-860, 25, (64, 64))
    for mask, hu in (
        (disc(30, 20, 6), 40),
        (disc(40, 34, 4), -500),
        (COLUMNS > 50, 50),
    ):
        slice_hu[mask] = hu
    return slice_hu


def test_candidates_are_the_bright_parts_inside_the_scope(slice_hu):
    scope = disc(34, 30, 24)
    found = nodule_candidates(slice_hu, scope, MEANS, SMOOTHNESS)
    assert found.dtype == int and found.max() == 3
    # the largest first
    np.testing.assert_array_equal(found == 1, disc(30, 20, 6))
    np.testing.assert_array_equal(found == 2, (COLUMNS > 50) & scope)
    np.testing.assert_array_equal(found == 3, disc(40, 34, 4))


def test_the_edge_is_half_way_from_lung_to_the_candidate(slice_hu):
    ring = disc(30, 20, 7) & ~disc(30, 20, 6)
    for share, inside in ((0.45, False), (0.55, True)):
        slice_hu[ring] = -860 + share * 900
        found = nodule_candidates(slice_hu, disc(30, 20, 10), MEANS, SMOOTHNESS)
        np.testing.assert_array_equal(found == 1, disc(30, 20, 7 if inside else 6))


def test_a_scope_at_the_border_and_the_whole_slice(slice_hu):
    slice_hu[:5, :5] = 0
    corner = np.zeros((64, 64), bool)
    corner[:10, :10] = True
    found = nodule_candidates(slice_hu, corner, MEANS, SMOOTHNESS)
    np.testing.assert_array_equal(found, (ROWS < 5) & (COLUMNS < 5))
    everything = nodule_candidates(slice_hu, np.ones((64, 64), bool), MEANS, SMOOTHNESS)
    assert everything.max() == 4


def test_no_candidate_is_an_empty_answer(slice_hu):
    assert not nodule_candidates(slice_hu, disc(10, 10, 8), MEANS, SMOOTHNESS).any()
    slice_hu[10, 10] = slice_hu[10, 11] = 200  # bright, but noise
    found = nodule_candidates(slice_hu, disc(10, 10, 8), MEANS, 0)
    assert not found.any()
    assert (
        nodule_candidates(slice_hu, disc(10, 10, 8), MEANS, 0, min_pixels=2).sum() == 2
    )


def test_channels_of_one_slice_twice_give_the_same(slice_hu):
    scope = disc(34, 30, 24)
    twice = nodule_candidates(
        np.stack([slice_hu] * 2, 2), scope, np.stack([MEANS] * 2, 1), 2 * SMOOTHNESS
    )
    np.testing.assert_array_equal(
        twice, nodule_candidates(slice_hu, scope, MEANS, SMOOTHNESS)
    )


def test_bad_scope(slice_hu):
    with pytest.raises(ValueError, match='the scope is empty'):
        nodule_candidates(slice_hu, np.zeros((64, 64), bool), MEANS, 1.0)
    with pytest.raises(ValueError, match=r'scope has shape \(64, 60\)'):
        nodule_candidates(slice_hu, np.ones((64, 60), bool), MEANS, 1.0)


def test_simulated_nodules_inside_the_right_scope():
    found = []
    for seed in range(3):
        rng = np.random.default_rng([7, seed])
        scan = simulate_nodule_scan(Patient(rng), rng, size=192)
        for mask in scan.masks:
            middle = mask.sum((1, 2)).argmax()
            image, truth = scan.hu[middle], mask[middle]
            candidates = nodule_candidates(
                image, scope_of(truth, 1.5), phase_means(image), SMOOTHNESS
            )
            found.append(dice(candidates == 1, truth))
    assert np.mean(found) >= 0.9


@pytest.mark.skipif(
    not REAL.is_dir(), reason='the real nodules do not exist next to the project'
)
def test_real_nodules_inside_the_right_scope():
    pairs = []
    for path in sorted((REAL / 'image').iterdir())[::20]:
        image = read_volume(path).array
        mask = read_volume(REAL / 'nodule_mask' / path.name).array > 0
        middle = mask.sum((1, 2)).argmax()
        pairs.append((image[middle], mask[middle]))
    # A crop is no whole slice: the distribution is that of all of them
    means = phase_means(np.concatenate([image.ravel() for image, _ in pairs]))
    found = []
    for image, mask in pairs:
        candidates = nodule_candidates(image, scope_of(mask, 1.2), means, SMOOTHNESS)
        found.append(dice(candidates == 1, mask))
    assert np.mean(found) >= 0.72
