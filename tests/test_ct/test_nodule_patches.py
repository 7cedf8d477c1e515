"""Patches of nodules: positions, sizes and borders, against simple interpolation."""

import numpy as np
import pytest

from mmlesion.ct import CTVolume
from mmlesion.ct.nodule_patches import (
    SLICE_OFFSETS_MM,
    NodulePatches,
    PatchGeometry,
    cut_nodule_patches,
    estimate_nodule_diameter,
    nodule_ball,
    read_nodule_patches,
    write_nodule_patches,
)


def ramp(shape, spacing_mm):
    """HU that rise linearly with the place: exact under linear interpolation."""
    z, y, x = np.meshgrid(
        *(np.arange(count) * step for count, step in zip(shape, spacing_mm)),
        indexing='ij',
    )
    return CTVolume((10 * z + 20 * y - 30 * x).astype(np.float32), spacing_mm)


def block(shape, low, high):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high))] = True
    return mask


@pytest.mark.parametrize('spacing_mm', [(1, 1, 1), (2.5, 0.7, 0.7), (0.6, 0.5, 0.8)])
def test_each_pixel_is_the_mean_over_its_place(spacing_mm):
    shape, diameter_mm = (90, 120, 120), 9.0
    volume = ramp(shape, spacing_mm)
    # Middle of the block: voxel (40.5, 59.5, 61)
    patches = cut_nodule_patches(
        volume, block(shape, (40, 58, 60), (42, 62, 63)), diameter_mm
    )
    z, y, x = np.array([40.5, 59.5, 61]) * spacing_mm
    pixels = (np.arange(32) - 15.5) / 32
    planes = [(2, offset) for offset in SLICE_OFFSETS_MM] + [(3, 0), (4, 0)]
    assert len(patches.image_hu) == len(planes) == 23
    for plane, (factor, offset) in zip(patches.image_hu, planes):
        places = pixels * factor * diameter_mm
        expected = (
            10 * (z + offset) + 20 * (y + places[:, None]) - 30 * (x + places[None])
        )
        assert np.abs(plane - expected).max() <= 0.51  # whole HU
    assert patches.outside == 0


def test_larger_pixels_are_averaged_not_picked():
    # A checkerboard of 0 and 1000 HU under pixels of 2 x 2: all 500
    shape = (30, 200, 200)
    board = np.indices(shape).sum(0) % 2 * 1000
    mask = block(shape, (15, 100, 100), (16, 101, 101))
    volume = CTVolume(board.astype(np.int16))
    patches = cut_nodule_patches(volume, mask, 32.0)  # 64 mm on 32 pixels
    inner = patches.image_hu[10]
    np.testing.assert_array_equal(inner, np.full((32, 32), 500))


def test_the_mask_goes_the_same_way():
    # A nodule of 8 x 8 mm in a square of 16 mm: the inner 16 x 16 pixels; as long
    # as its 5 slices of 2 mm, which reach 4 mm to both sides, half weights excluded
    shape = (21, 64, 64)
    mask = block(shape, (8, 28, 28), (13, 36, 36))
    patches = cut_nodule_patches(
        CTVolume(np.zeros(shape, np.int16), (2, 1, 1)), mask, 8.0
    )
    expected = np.zeros((32, 32), bool)
    expected[8:24, 8:24] = True
    np.testing.assert_array_equal(patches.mask[10], expected)
    covered = patches.mask[:21].any((1, 2))
    np.testing.assert_array_equal(
        covered, np.abs(SLICE_OFFSETS_MM) <= 5
    )  # 1/2 at 5 mm counts
    assert patches.mask[21].sum() < patches.mask[10].sum()  # 3 diameters


def test_flipping_the_volume_flips_the_patches():
    generator = np.random.default_rng(0)
    shape = (25, 40, 41)
    volume = CTVolume(
        generator.integers(-1000, 400, shape).astype(np.int16), (1.25, 0.7, 0.7)
    )
    mask = block(shape, (9, 16, 20), (14, 24, 27))
    one = cut_nodule_patches(volume, mask, 5.5)
    flipped = CTVolume(volume.array[::-1, :, ::-1], volume.spacing_mm)
    other = cut_nodule_patches(flipped, mask[::-1, :, ::-1], 5.5)
    assert (
        np.abs(other.image_hu[:21][::-1, :, ::-1].astype(int) - one.image_hu[:21]).max()
        <= 1
    )


def test_shifted_and_larger_patches_worked_by_hand():
    """A cube of 4 mm: diameter 4; moved by half a diameter, of 4 diameters a side."""
    volume = CTVolume(np.zeros((24, 64, 64), np.int16), (1.0, 1.0, 1.0))
    mask = np.zeros(volume.shape, bool)
    mask[10:14, 30:34, 30:34] = True
    middle = cut_nodule_patches(volume, mask, 4.0)
    moved = cut_nodule_patches(volume, mask, 4.0, shift=(0.5, -0.25))
    # 32 pixels show 8 mm: 2 mm are 8 pixels up, 1 mm 4 pixels to the right
    assert np.array_equal(moved.mask[:21], np.roll(middle.mask[:21], (-8, 4), (1, 2)))
    large = cut_nodule_patches(volume, mask, 4.0, side=4)
    assert large.mask[10].sum() * 4 == pytest.approx(middle.mask[10].sum(), rel=0.05)
    assert np.array_equal(large.mask[10], middle.mask[22])  # D_3C's third square


def test_a_shift_belongs_to_the_nodule_and_the_seed():
    geometry = PatchGeometry(max_shift=0.5)
    shifts = [geometry.shift_of(f'n{number}') for number in range(200)]
    assert shifts == [geometry.shift_of(f'n{number}') for number in range(200)]
    assert -0.5 <= np.min(shifts) < -0.45 and 0.45 < np.max(shifts) <= 0.5
    assert PatchGeometry(max_shift=0.5, seed=1).shift_of('n0') != shifts[0]
    assert PatchGeometry().shift_of('n0') == (0, 0)
    with pytest.raises(ValueError, match='a positive side and a shift of at least 0'):
        PatchGeometry(side=0)


def test_beyond_the_border_the_outermost_pixels_are_repeated():
    shape = (40, 60, 60)
    volume = ramp(shape, (1, 1, 1))
    mask = block(shape, (18, 28, 0), (23, 33, 5))  # middle at (20, 30, 2)
    patches = cut_nodule_patches(volume, mask, 10.0)
    # The square reaches from x = -8 to 12; its pixels left of 0 are as at 0
    assert (patches.image_hu[10][:, :12] == patches.image_hu[10][:, :1]).all()
    assert patches.outside == pytest.approx((8 - 0.5) / 20)


def test_a_crop_of_few_slices_repeats_the_first_and_the_last():
    shape = (3, 40, 40)
    volume = CTVolume(
        np.arange(3)[:, None, None] * np.ones(shape, np.int16) * 100, (2, 1, 1)
    )
    patches = cut_nodule_patches(volume, block(shape, (0, 18, 18), (3, 23, 23)), 5.0)
    np.testing.assert_array_equal(
        patches.image_hu[:21, 0, 0], [0] * 9 + [50, 100, 150] + [200] * 9
    )
    assert patches.outside == pytest.approx(1 - 6 / 21)


def test_a_single_slice_and_a_single_pixel_are_enough():
    patches = cut_nodule_patches(
        CTVolume(np.full((1, 1, 1), 7, np.int16)), np.ones((1, 1, 1)), 1.0
    )
    assert (patches.image_hu == 7).all() and patches.mask.all()


@pytest.mark.parametrize(
    'mask, diameter_mm, sentence',
    [
        (np.zeros((4, 5, 6)), 3.0, 'the mask of the nodule is empty'),
        (np.ones((4, 5, 7)), 3.0, r'the mask has \(4, 5, 7\) voxels'),
        (np.ones((4, 5, 6)), 0.0, 'diameter_mm must be positive, but is 0.0'),
        (np.ones((4, 5, 6)), float('nan'), 'diameter_mm must be positive'),
    ],
)
def test_what_cannot_be_cut_is_said(mask, diameter_mm, sentence):
    with pytest.raises(ValueError, match=sentence):
        cut_nodule_patches(CTVolume(np.zeros((4, 5, 6))), mask, diameter_mm)


def test_what_is_written_is_read(tmp_path):
    generator = np.random.default_rng(0)
    patches = NodulePatches(
        generator.integers(-32768, 32768, (23, 32, 32)).astype(np.int16),
        generator.random((23, 32, 32)) < 0.5,
    )
    write_nodule_patches(tmp_path / 'a.slices', patches)
    image, mask = read_nodule_patches(tmp_path / 'a.slices', '21c')
    np.testing.assert_array_equal(image, patches.image_hu[:21])
    np.testing.assert_array_equal(mask, patches.mask[:21])
    few = NodulePatches(patches.image_hu[:5], patches.mask[:5])
    write_nodule_patches(tmp_path / 'b.slices', few)
    with pytest.raises(ValueError, match='expected the 67 planes of a nodule'):
        read_nodule_patches(tmp_path / 'b.slices', '1c')


def crop_with_ball(diameter_mm, spacing_mm=(1.0, 0.7, 0.7), shape=(25, 51, 51)):
    """Soft tissue of that diameter in the middle of lung."""
    empty = CTVolume(np.full(shape, -850, np.int16), spacing_mm)
    ball = nodule_ball(empty, diameter_mm)
    return CTVolume(np.where(ball, 40, -850).astype(np.int16), spacing_mm), ball


@pytest.mark.parametrize('diameter_mm', [6.0, 10.0, 16.0])
def test_the_diameter_follows_the_inscribed_circle(diameter_mm):
    volume, ball = crop_with_ball(diameter_mm)
    voxel_mm3 = np.prod(volume.spacing_mm)
    assert ball.sum() * voxel_mm3 == pytest.approx(np.pi / 6 * diameter_mm**3, rel=0.08)
    assert estimate_nodule_diameter(volume) == pytest.approx(
        1.3 * diameter_mm, rel=0.15
    )
    # A wall that touches the nodule changes nothing.
    wall = volume.array.copy()
    wall[:, :, 30:] = 60
    attached = estimate_nodule_diameter(CTVolume(wall, volume.spacing_mm))
    assert attached < 1.5 * 1.3 * diameter_mm


def test_a_crop_without_a_nodule_is_refused():
    volume, _ = crop_with_ball(10.0)
    with pytest.raises(ValueError, match='no nodule in the middle of the crop'):
        estimate_nodule_diameter(CTVolume(-volume.array, volume.spacing_mm))
    with pytest.raises(ValueError, match='diameter_mm must be positive, but is 0'):
        nodule_ball(volume, 0)
