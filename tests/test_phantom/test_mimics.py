"""Mimics in a uniform lung: density, thickness and place."""

import numpy as np
import pytest
from scipy import ndimage

from mmlesion.phantom.canvas import Canvas
from mmlesion.phantom.mimics import ApicalCap, Bulla, Effusion, paint_mimic
from mmlesion.phantom.pathology import Cavity, paint_cavity

AXIS = np.arange(-45.0, 46.0, 1.5)
FINE = np.arange(-20.0, 20.5, 0.5)


def cube(axis):
    """A cube of lung tissue in front of a wall, and the distance from the wall."""
    canvas = Canvas(axis, axis, axis)
    canvas.hu[:] = -850
    wall_mm = np.broadcast_to(0.75 * axis[-1] - canvas.y, canvas.hu.shape).astype(
        np.float32
    )
    canvas.hu[wall_mm <= 0] = 50
    return canvas, wall_mm > 0, wall_mm


def whole(canvas, found):
    mask = np.zeros(canvas.hu.shape, bool)
    (box, inside) = found
    mask[box] = inside
    return mask


def test_an_effusion_is_a_smooth_layer_of_fluid_at_back_and_base():
    canvas, lung, wall_mm = cube(AXIS)
    before = lung.copy()
    what = Effusion(1, 20.0, -50.0, -40.0, 12.0)
    mask = whole(canvas, paint_mimic(canvas, what, lung, wall_mm)['pleural_effusion'])
    assert (lung == before & ~mask).all()
    assert not mask[:, :, AXIS < 0].any()  # the other side
    core = ndimage.binary_erosion(mask, iterations=2)
    assert core.any() and np.abs(canvas.hu[core] - 12).max() < 1
    depth = mask.sum(1) * 1.5  # along y, by (z, x)
    assert 17 <= depth.max() <= 21.5
    column = depth[:, AXIS > 3]
    assert (np.diff(column, axis=0) >= 0).all()  # thicker toward the base
    assert (column == column[:, :1]).all()  # smooth: the same along the wall
    assert not depth[0].any()


@pytest.mark.parametrize('kind', [Effusion, ApicalCap])
def test_drawn_mimics_are_in_their_ranges(kind):
    drawn = [
        kind.draw(1, (1.1, 1.0, 0.95), np.random.default_rng(seed))
        for seed in range(200)
    ]
    ranges = dict(
        pleural_effusion=((-10, 25), (12, 40)), apical_cap=((20, 65), (2, 5))
    )[kind.kind]
    for values, (low, high) in zip(
        ([d.hu for d in drawn], [d.thickness_mm for d in drawn]), ranges
    ):
        assert low <= min(values) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(values) <= high


def test_a_bulla_has_a_thin_wall_and_a_cavity_a_thick_one():
    place = (0.0, 0.0, 0.0)

    def wall_mm(paint):
        canvas, lung, wall = cube(FINE)
        paint(canvas, lung, wall)
        middle = len(FINE) // 2
        along = canvas.hu[middle, middle, : middle + 1]
        assert along[-1] == pytest.approx(-985, abs=1)
        # Soft tissue that the partial voxels hold together, above lung and air
        return 0.5 * np.clip((along + 850) / 890, 0, 1).sum()

    bulla = Bulla(place, 14.0, (1.0, 1.0, 1.0))
    assert 0.6 < wall_mm(lambda *a: paint_mimic(a[0], bulla, a[1], a[2])) < 1.2
    thin = Cavity(place, 14.0, 2.75, (1, 1, 1), 40.0, 0, 50.0, (0, 0), 1)
    assert wall_mm(lambda *a: paint_cavity(a[0], thin, a[1])) > 2

    canvas, lung, wall = cube(FINE)
    mask = whole(canvas, paint_mimic(canvas, bulla, lung, wall)['bulla'])
    assert mask.sum() * 0.5**3 == pytest.approx(4 / 3 * np.pi * 14**3, rel=0.05)
    assert np.median(canvas.hu[mask]) < -950


def test_an_apical_cap_is_thin_smooth_soft_tissue():
    canvas, lung, wall_mm = cube(FINE)
    what = ApicalCap(-1, 4.0, 15.0, 40.0)
    mask = whole(canvas, paint_mimic(canvas, what, lung, wall_mm)['apical_cap'])
    assert not mask[:, :, FINE > 0].any() and not mask[FINE >= 15].any()
    depth = mask.sum(1) * 0.5
    assert 3.5 <= depth.max() <= 4.5
    assert (np.diff(depth[:, FINE < -3], axis=0) <= 0).all()  # thickest at the top
    assert canvas.hu[mask].mean() > -100
    assert lung[mask].all()  # remains part of the lung


def test_what_lies_elsewhere_is_not_painted():
    canvas, lung, wall_mm = cube(AXIS)
    before = canvas.hu.copy()
    for what in (
        Effusion(1, 20.0, 500.0, 0.0, 10.0),
        Bulla((900.0, 0.0, 0.0), 20.0, (1.0, 1.0, 1.0)),
        ApicalCap(1, 4.0, -300.0, 40.0),
    ):
        assert paint_mimic(canvas, what, lung, wall_mm) == {}
    assert np.array_equal(canvas.hu, before)
