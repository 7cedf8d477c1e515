"""Kinds, places and masks of the simulated nodules."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from mmlesion.phantom import (
    Enhancement,
    Patient,
    Region,
    paint_anatomy,
    simulate_nodule_scan,
)
from mmlesion.phantom.lidc_nodules import NoduleKind, draw_kind
from mmlesion.phantom.lidc_places import LungMap, find_place


def simulate(seed, attached, ground_glass):
    rng = np.random.default_rng(seed)
    patient = Patient(rng)
    return patient, simulate_nodule_scan(patient, rng, 128, attached, ground_glass)


def surroundings(patient, scan):
    """Return lung and vessels of the patient without nodules on the scan's voxels."""
    z, y, x = (
        start + step * np.arange(size)
        for start, step, size in zip(
            scan.origin[::-1], scan.spacing_mm, scan.hu.shape, strict=True
        )
    )
    canvas = paint_anatomy(-z[::-1], y, x, patient, Enhancement(0.5), True)
    lung = canvas.labels == Region.LUNG
    return lung[::-1], (lung & (canvas.hu > -300))[::-1]


def share_is(share, found, count):
    return abs(found / count - share) < 4 * np.sqrt(share * (1 - share) / count)


def test_shares_of_the_kinds():
    rng = np.random.default_rng(0)
    kinds = [draw_kind(rng) for _ in range(4000)]
    attached = [kind for kind in kinds if kind.attached]
    hazy = [kind for kind in kinds if kind.texture != 'solid']
    assert share_is(0.15, len(attached), 4000)
    assert share_is(0.33, len(hazy), 4000)
    for some in (kinds, attached, hazy):
        assert share_is(0.5, sum(kind.malignant for kind in some), len(some))
    assert {kind.attached for kind in attached} == {'wall', 'vessel'}
    assert {kind.texture for kind in hazy} == {'part-solid', 'ground glass'}
    for malignant, low, high in ((False, 2.5, 6.5), (True, 3.5, 9)):
        radii = [kind.radius_mm for kind in kinds if kind.malignant is malignant]
        assert low <= min(radii) and max(radii) <= high
        assert np.median(radii) == pytest.approx(np.sqrt(low * high), rel=0.05)


@pytest.mark.parametrize('attached', ['wall', 'vessel'])
def test_attached_nodules_touch_and_their_masks_hold_only_the_nodule(
    attached, monkeypatch
):
    monkeypatch.setattr(
        'mmlesion.phantom.lidc_nodules._WALL_OF_ATTACHED', float(attached == 'wall')
    )
    for seed in range(4):
        patient, scan = simulate([1, seed], 1.0, 0.0)
        lung, vessel = surroundings(patient, scan)
        for mask, nodule in zip(scan.masks, scan.nodules, strict=True):
            assert nodule.kind.attached == attached
            other = ~lung if attached == 'wall' else vessel
            assert (binary_dilation(mask) & other).any()
            assert (mask & ~lung).sum() <= 0.05 * mask.sum()
            if attached == 'vessel':
                assert (mask & vessel).sum() <= 0.1 * mask.sum()
            assert np.median(scan.hu[mask]) > -300


def test_ground_glass_is_darker_than_tissue():
    for seed in range(4):
        _, scan = simulate([2, seed], 0.0, 1.0)
        for mask, nodule in zip(scan.masks, scan.nodules, strict=True):
            assert -800 < np.median(scan.hu[mask]) < -300
            assert not nodule.calcified
            core = scan.hu[mask].max()
            assert core > -350 or nodule.kind.texture == 'ground glass'


def test_places_are_anywhere_in_the_lungs():
    rng = np.random.default_rng(0)
    patient, enhancement = Patient(rng), Enhancement(0.5)
    lungs = LungMap.of(patient, enhancement)
    centers = [
        find_place(NoduleKind(False, 3.0), lungs, patient, enhancement, [], None, rng)
        for _ in range(60)
    ]
    places = np.array([center for center in centers if center is not None])
    assert len(places) >= 50
    index = [
        np.abs(axis[:, None] - at).argmin(0)
        for axis, at in zip(lungs.axes, places.T[::-1], strict=True)
    ]
    assert 0.2 < np.mean(lungs.room_mm[tuple(index)] < 10) < 0.6
    above = np.cumsum((lungs.room_mm > 0).sum((1, 2)))
    height = above[index[0]] / above[-1]
    assert np.mean(height < 0.2) > 0.05 and np.mean(height > 0.8) > 0.05
    assert np.mean(places[:, 0] < 0) == pytest.approx(0.5, abs=0.2)


def test_a_large_image_shows_the_whole_chest():
    rng = np.random.default_rng(3)
    patient = Patient(rng)
    scan = simulate_nodule_scan(patient, rng, 384)
    body = scan.hu[len(scan.hu) // 2] > -500
    assert 0.5 <= scan.spacing_mm[1] <= 0.98
    assert body.any(0).mean() > 0.85 and not body[0].any()
