"""Projections of the lungs against manual values, loops and other orientations."""

import numpy as np
import pytest

from mmlesion.ct import (
    HU_RANGES,
    REGIONS,
    ROTATIONS_DEG,
    VIEWS,
    CTVolume,
    project_lungs,
    region_slices,
    resample_to_grid,
    rescale_projection,
)


def chest(seed=0, shape=(9, 6, 8)):
    """Noise of all three ranges and beyond, and a mask with holes."""
    generator = np.random.default_rng(seed)
    volume = CTVolume(generator.integers(-1500, 400, shape).astype(np.int16))
    return volume, generator.random(shape) < 0.6


def naive(array, mask, low, high, closed, axis, mode):
    inside = mask.copy()
    if mode == 'exclude':
        inside &= (array >= low) & ((array <= high) if closed else (array < high))
    values = np.ma.array(
        np.clip(array, low, high) if mode == 'clip' else array,
        mask=~inside,
        dtype=np.float64,
    )
    return values.mean(axis).filled(np.nan)


@pytest.mark.parametrize('mode', ['exclude', 'clip'])
def test_equals_the_masked_mean_of_numpy(mode):
    volume, mask = chest()
    mask[:, 2:4, 3] = False  # rays that meet nothing
    projections = project_lungs(volume, mask, mode=mode)
    parts = dict(whole=(slice(None),) * 3, **region_slices(volume.shape))
    assert set(projections) == {'whole', *REGIONS}
    for area, part in parts.items():
        for axis, view in enumerate(VIEWS):
            for number, (low, high) in enumerate(HU_RANGES):
                expected = naive(
                    volume.array[part], mask[part], low, high, number == 2, axis, mode
                )
                found = projections[area][view][..., number]
                np.testing.assert_allclose(
                    found, expected[::-1] if axis else expected, rtol=1e-6
                )


def test_a_ray_by_hand():
    """-950 and -1000 are air, -160 soft tissue; 300 and outside of the lung: empty."""
    array = np.array([-950, -1000, -160, 300, -950], np.int16).reshape(5, 1, 1)
    array = np.repeat(array, 2, 2)
    mask = np.ones(array.shape, bool)
    mask[4] = False
    mean = project_lungs(CTVolume(array), mask, mode='exclude')['whole']['axial'][0, 0]
    np.testing.assert_array_equal(mean, [-975, np.nan, -160])
    mean = project_lungs(CTVolume(array), mask)['whole']['axial'][0, 0]
    # (-950 - 1000 - 900 - 900) / 4, (-900 - 900 - 160 - 160) / 4,
    # (-160 - 160 - 160 + 240) / 4
    np.testing.assert_array_equal(mean, [-937.5, -530, -60])


def test_regions_are_halves_of_x_and_thirds_of_z():
    slices = region_slices((216, 256, 256))
    assert slices['left_upper'] == (slice(144, 216), slice(0, 256), slice(128, 256))
    assert slices['right_lower'] == (slice(0, 72), slice(0, 256), slice(0, 128))
    covered = np.zeros((10, 3, 7), int)
    for part in region_slices(covered.shape).values():
        covered[part] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize(
    'order, flips',
    [((0, 1, 2), (0, 1)), ((0, 1, 2), (2,)), ((2, 0, 1), ()), ((1, 2, 0), (0, 2))],
)
def test_the_patient_s_left_stays_left_however_the_array_lies(order, flips):
    volume, mask = chest()
    array, other = volume.array.transpose(order), mask.transpose(order)
    # Columns are the world directions of i, j, k: the axes x, y, z from the last
    direction = np.eye(3)[:, [2 - axis for axis in order][::-1]]
    for axis in flips:
        array, other = np.flip(array, axis), np.flip(other, axis)
        direction[:, 2 - axis] *= -1
    turned = CTVolume(array, direction=direction)
    expected = project_lungs(volume, mask)
    for area, views in project_lungs(turned, other).items():
        for view, image in views.items():
            np.testing.assert_array_equal(image, expected[area][view])


def test_a_scan_upside_down_in_its_file_has_its_upper_regions_at_the_head():
    array = np.full((6, 4, 4), -800, np.int16)
    array[5] = -100  # at the head
    flipped = CTVolume(array[::-1], direction=np.diag([1.0, 1.0, -1.0]))
    mask = np.ones(array.shape, bool)
    soft = {
        area: np.isfinite(views['axial'][..., 2]).any()
        for area, views in project_lungs(flipped, mask, mode='exclude').items()
    }
    assert soft['left_upper'] and soft['right_upper'] and not soft['left_middle']
    coronal = project_lungs(flipped, mask, mode='exclude')['whole']['coronal']
    assert np.isfinite(coronal[0, :, 2]).all() and np.isnan(coronal[1:, :, 2]).all()


def test_a_missing_lung_and_a_mask_at_the_border_are_fine():
    volume, mask = chest()
    mask[:, :, 4:] = False
    projections = project_lungs(volume, mask)
    assert np.isnan(projections['left_upper']['sagittal']).all()
    assert rescale_projection(projections['left_upper']['axial']).max() == 0
    mask[:] = True
    assert np.isfinite(project_lungs(volume, mask)['whole']['axial']).all()


def test_each_channel_is_rescaled_by_itself():
    mean_hu = np.array([[[-1000, -500, 7], [-950, np.nan, 7], [-900, -400, 7]]])
    np.testing.assert_allclose(
        rescale_projection(mean_hu), [[[0, 0, 1], [0.5, 0, 1], [1, 1, 1]]]
    )


def test_the_grid_halves_by_the_mean_of_eight():
    volume, _ = chest(shape=(8, 6, 10))
    volume = CTVolume(volume.array.astype(np.float32), (2.0, 1.0, 0.5), (5, -3, 7))
    small = resample_to_grid(volume, (4, 3, 5))
    np.testing.assert_allclose(
        small.array, volume.array.reshape(4, 2, 3, 2, 5, 2).mean((1, 3, 5)), rtol=1e-4
    )
    assert small.spacing_mm == (4.0, 2.0, 1.0)
    np.testing.assert_allclose(small.origin, volume.index_to_world((0.5, 0.5, 0.5)))


def test_a_turn_is_about_the_patient_s_axes_in_mm():
    """A rotation by 90 degrees about the z axis moves the left side to the back."""
    array = np.zeros((3, 9, 9), np.int16)
    array[1, 4, 7] = 100  # left, 3 voxels from the middle
    turned = resample_to_grid(CTVolume(array), array.shape, (0, 0, 90)).array
    assert turned[1, 7, 4] == 100 and turned.sum() == 100
    # Voxels twice as high as wide: 4 mm to the left become 2 slices to the feet
    array = np.zeros((9, 3, 9), np.int16)
    array[4, 1, 8] = 100
    volume = CTVolume(array, (2.0, 1.0, 1.0))
    turned = resample_to_grid(volume, array.shape, (0, 90, 0), outside=0).array
    assert turned[2, 1, 4] == 100
    assert len(set(ROTATIONS_DEG)) == 27 and ROTATIONS_DEG[0] == (0, 0, 0)


def test_turning_there_and_back_about_x_then_z():
    array = np.zeros((9, 9, 9), np.float32)
    array[4, 7, 4] = 100  # at the back; about x it goes up, which z leaves there
    turned = resample_to_grid(CTVolume(array), array.shape, (90, 0, 90)).array
    assert turned[7, 4, 4] == pytest.approx(100, rel=1e-4)


@pytest.mark.parametrize(
    'change, sentence',
    [
        (dict(mask=np.zeros((9, 6, 8), bool)), 'the lung mask is empty'),
        (dict(mask=np.ones((9, 6, 7), bool)), r'has \(9, 6, 7\)'),
        (dict(mode='drop'), "'clip' or 'exclude', but is 'drop'"),
        (dict(ranges_hu=((5, 5),)), 'ascending numbers'),
    ],
)
def test_bad_input_is_told(change, sentence):
    volume, mask = chest()
    with pytest.raises(ValueError, match=sentence):
        project_lungs(volume, **dict(dict(mask=mask), **change))


def test_a_bad_grid_is_told():
    with pytest.raises(ValueError, match='three positive numbers'):
        resample_to_grid(chest()[0], (0, 4, 4))
    with pytest.raises(ValueError, match="but is 'best'"):
        resample_to_grid(chest()[0], interpolation='best')
