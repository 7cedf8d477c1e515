"""Patches around candidates: geometry, border, files."""

import numpy as np
import pytest

from mmlesion.ct import CTVolume
from mmlesion.ct.candidate_patches import (
    PATCH_MARGIN,
    PATCH_SHAPE,
    crop_margin,
    cut_candidate_patch,
    read_candidate_patch,
    write_candidate_patch,
)


def linear_volume(spacing, slope, shape=(60, 80, 90), direction=None):
    """HU that are linear in mm along the axes (z, y, x)."""
    axes = [np.arange(n) * s * g for n, s, g in zip(shape, spacing, slope)]
    hu = axes[0][:, None, None] + axes[1][:, None] + axes[2]
    return CTVolume(
        hu.astype(np.float32),
        spacing,
        (5.0, -3.0, 8.0),
        np.eye(3) if direction is None else direction,
    )


@pytest.mark.parametrize('spacing', [(1.25, 0.7, 0.7), (2.5, 0.9, 0.9), (1, 1, 1)])
def test_voxels_have_fixed_distances_in_mm(spacing):
    volume = linear_volume(spacing, (10, 10, 10))
    center = np.array([30.3, 40.6, 44.9])
    patch = cut_candidate_patch(volume, center)
    assert patch.shape == PATCH_SHAPE and patch.dtype == np.int16
    middle = 10 * float((center * spacing).sum())
    z, y, x = (np.arange(n) - (n - 1) / 2 for n in PATCH_SHAPE)
    expected = middle + 20 * z[:, None, None] + 10 * y[:, None] + 10 * x
    inside = cut_candidate_patch(
        CTVolume(np.ones(volume.shape, np.float32), spacing), center
    )
    assert (inside == 1).all()
    reach = np.array(PATCH_SHAPE) * (2, 1, 1) / 2 / spacing
    whole = (center - reach > 0).all() and (center + reach < volume.shape).all()
    assert whole
    assert np.abs(patch - expected).max() <= 0.51  # rounded


def test_the_border_is_repeated():
    volume = linear_volume((2, 1, 1), (10, 0, 0))
    patch = cut_candidate_patch(volume, (0, 40, 40))
    assert (patch[:11] == 0).all() and (patch[11] == 20).all()
    outside = cut_candidate_patch(volume, (-100, -100, 500))
    assert (outside == 0).all()


def test_margin_and_shift(tmp_path):
    volume = linear_volume((2, 1, 1), (10, 7, 3))
    center = (30, 40, 44)
    stored = cut_candidate_patch(volume, center, margin=True)
    np.testing.assert_array_equal(
        crop_margin(stored), cut_candidate_patch(volume, center)
    )
    shifted = cut_candidate_patch(volume, (31, 36, 47))
    np.testing.assert_array_equal(crop_margin(stored, (1, -4, 3)), shifted)
    for shift in (PATCH_MARGIN, [-n for n in PATCH_MARGIN]):
        assert crop_margin(stored, shift).shape == PATCH_SHAPE
    write_candidate_patch(tmp_path / 'a.slices', stored)
    np.testing.assert_array_equal(read_candidate_patch(tmp_path / 'a.slices'), stored)
    write_candidate_patch(tmp_path / 'b.slices', stored[:-1])
    with pytest.raises(ValueError, match=r'b\.slices: expected a patch of \(23, 48'):
        read_candidate_patch(tmp_path / 'b.slices')


def test_a_center_that_is_no_place():
    with pytest.raises(ValueError, match='must be three finite numbers'):
        cut_candidate_patch(linear_volume((1, 1, 1), (1, 1, 1)), (np.nan, 1, 1))
