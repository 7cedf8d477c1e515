import numpy as np
import pytest

from mmlesion.phantom import Canvas

GRID = np.arange(-30, 31, 1.0)


def test_ellipsoid_has_the_volume_of_an_ellipsoid():
    canvas = Canvas(GRID, GRID, GRID)
    canvas.ellipsoid((3, -4, 2), (12, 15, 10), 0.0)
    volume = ((canvas.hu + 1000) / 1000).sum()
    assert volume == pytest.approx(4 / 3 * np.pi * 12 * 15 * 10, rel=0.03)
    center = np.argwhere(canvas.hu > -500).mean(0) - 30
    np.testing.assert_allclose(center, (2, -4, 3), atol=0.05)  # z, y, x


def test_voxels_cut_by_a_surface_hold_a_mixture():
    canvas = Canvas(GRID[:3], GRID, GRID)
    canvas.ellipsoid((0, 0, -29), (10, 10, 1000), 60.0)
    between = (canvas.hu > -999) & (canvas.hu < 59)
    assert between.any()
    assert canvas.hu.min() == -1000 and canvas.hu.max() == pytest.approx(60)


def test_tube_equals_the_naive_distance_to_its_axis():
    canvas = Canvas(GRID, GRID, GRID)
    start, end = np.array((-10.0, 4, -12)), np.array((14.0, -6, 10))
    canvas.tube([(*start, 5.0), (*end, 3.0)], 40.0)
    rng = np.random.default_rng(0)
    for z, y, x in rng.integers(0, 61, (300, 3)):
        p = np.array((x - 30.0, y - 30, z - 30))
        t = np.clip((p - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
        inside = 5 - 2 * t - np.linalg.norm(p - start - t * (end - start))
        weight = np.clip(inside + 0.5, 0, 1)
        assert canvas.hu[z, y, x] == pytest.approx(-1000 + 1040 * weight, abs=0.01)


def test_labels_follow_what_was_painted_last():
    canvas = Canvas(GRID, GRID, GRID, with_labels=True)
    canvas.ellipsoid((0, 0, 0), (20, 20, 20), 0.0, 4)
    canvas.ellipsoid((0, 0, 0), (8, 8, 8), 50.0, 6)
    assert canvas.labels[30, 30, 30] == 6
    assert canvas.labels[30, 30, 45] == 4
    assert canvas.labels[0, 0, 0] == 0


def test_a_piece_of_the_grid_is_painted_as_the_whole():
    """A small field of view equals the same part of a large one."""
    whole, piece = Canvas(GRID, GRID, GRID), Canvas(GRID, GRID[20:45], GRID[5:30])
    for canvas in (whole, piece):
        canvas.ellipsoid((-9, 3, 0), (12, 20, 10), 10.0, angle=0.4)
        canvas.tube([(-30, 0, -5, 4), (10, 10, 9, 6)], 150.0)
    np.testing.assert_allclose(piece.hu, whole.hu[:, 20:45, 5:30], atol=1e-3)


def test_shapes_outside_the_grid_paint_nothing():
    canvas = Canvas(GRID, GRID, GRID)
    assert canvas.ellipsoid((500, 0, 0), (10, 10, 10), 0.0) is None
    canvas.tube([(500, 0, 0, 4), (500, 0, 9, 4)], 0.0)
    assert (canvas.hu == -1000).all()
