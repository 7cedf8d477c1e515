"""Lung masks of hand-made chests, of a generated one and of a real scan."""

from pathlib import Path

import numpy as np
import pytest

from mmlesion.ct import (
    LEFT_LUNG,
    NO_LUNG,
    RIGHT_LUNG,
    CTVolume,
    WatershedSteps,
    left_right_lungs,
    lung_mask,
    read_volume,
)

DATA = Path(__file__).resolve().parents[2].joinpath('../shared/data/chest_ct')
on_real_scan = pytest.mark.skipif(
    not DATA.is_dir(), reason='no real chest CT next to the project'
)
METHODS = ('threshold', 'watershed')
SPACING_MM = (5.0, 2.5, 2.5)
Z, Y, X = np.meshgrid(
    *(np.arange(n) * s for n, s in zip((32, 96, 128), SPACING_MM)), indexing='ij'
)


def ball(z, y, x, radii):
    """Return the mask of an ellipsoid in mm."""
    rz, ry, rx = np.broadcast_to(radii, 3)
    return ((Z - z) / rz) ** 2 + ((Y - y) / ry) ** 2 + ((X - x) / rx) ** 2 < 1


BODY = ((Y - 115) / 90) ** 2 + ((X - 160) / 140) ** 2 < 1
RIGHT, LEFT = (ball(70, 115, x, (65, 70, 45)) for x in (95, 225))
TRACHEA = ((Y - 130) ** 2 + (X - 160) ** 2 < 9**2) & (Z > 60)


def chest(noise_hu=10):
    """HU of a body with two lungs of 65 mm half height, a trachea and a table."""
    hu = np.full(Z.shape, -1000.0)
    hu[BODY] = 40
    hu[(Y > 210) & (Y < 213)] = 100  # the table
    hu[RIGHT | LEFT] = -850
    hu[TRACHEA] = -990
    hu += np.random.default_rng(0).normal(0, noise_hu, hu.shape)
    return np.rint(hu).astype(np.int16)


def scan(hu):
    return CTVolume(hu, SPACING_MM)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize('method', METHODS)
def test_lungs_are_found_and_nothing_else(method):
    mask = lung_mask(scan(chest()), method)
    assert mask.dtype == bool and mask.shape == Z.shape
    assert dice(mask, RIGHT | LEFT) > 0.97
    assert not mask[~BODY].any() and not mask[TRACHEA].any()


def test_a_trachea_that_opens_into_the_lungs_is_cut_where_it_enters():
    hu = chest()
    bronchi = (np.abs(Y - 130) < 6) & (np.abs(Z - 60) < 5) & (X > 95) & (X < 225)
    hu[bronchi] = -990
    mask = lung_mask(scan(hu))
    assert not mask[TRACHEA & (Z > 66)].any()
    assert dice(mask, RIGHT | LEFT) > 0.96


def test_a_nodule_at_the_pleura_is_in_the_refined_mask_only():
    hu = chest()
    nodule = ball(70, 115, 56, 12) & RIGHT  # at the outer side of the right lung
    hu[nodule] = 30
    assert lung_mask(scan(hu), 'watershed')[nodule].mean() > 0.9
    assert lung_mask(scan(hu), 'threshold')[nodule].mean() < 0.5


def test_thickened_pleura_between_lung_and_wall_is_partly_kept():
    hu = chest()
    plaque = RIGHT & (X < 62)
    hu[plaque] = 30
    kept = [
        lung_mask(scan(hu), 'watershed', steps=WatershedSteps(gap_mm2=gap))
        for gap in (1500, 0)
    ]
    assert kept[0][plaque].mean() >= kept[1][plaque].mean()
    assert dice(kept[0], RIGHT | LEFT) > 0.95


def test_a_cavity_with_its_ball_is_kept_and_the_heart_is_not_filled():
    hu = chest()
    heart = ball(50, 90, 175, (30, 40, 45))
    hu[heart] = 40
    place = dict(z=80, y=130, x=225)
    wall, hole, fungus = (ball(**place, radii=radius) for radius in (24, 18, 12))
    hu[wall], hu[hole], hu[fungus] = 40, -990, 40
    mask = lung_mask(scan(hu), 'watershed')
    assert mask[wall].all()
    assert mask[heart].mean() < 0.1
    assert not lung_mask(scan(hu), 'threshold')[fungus].all()


def test_a_cavity_apart_from_the_lung_is_kept_above_lung_as_gas_below_is_not():
    hu = chest()
    hole = ball(115, 115, 225, 10)
    hu[ball(115, 115, 225, 14) | (LEFT & (Z > 115))] = 40
    hu[hole] = -990
    gas = ball(4, 60, 225, (12, 12, 12))
    hu[gas] = -990
    mask = lung_mask(scan(hu))
    assert mask[hole].mean() > 0.8
    assert not mask[gas].any()


@pytest.mark.parametrize('method', METHODS)
def test_order_of_slices_and_lying_on_the_belly_do_not_matter(method):
    hu, flip = chest(), np.diag([1.0, 1.0, -1.0])
    expected = lung_mask(scan(hu), method)
    upside_down = CTVolume(hu[::-1], SPACING_MM, direction=flip)
    assert np.array_equal(lung_mask(upside_down, method)[::-1], expected)
    prone = CTVolume(hu[:, ::-1, ::-1], SPACING_MM)
    assert dice(lung_mask(prone, method)[:, ::-1, ::-1], expected) > 0.998


@pytest.mark.parametrize('method', METHODS)
def test_a_missing_lung_is_missing(method):
    hu = chest()
    hu[RIGHT] = 40
    mask = lung_mask(scan(hu), method)
    assert dice(mask, LEFT) > 0.96 and not mask[RIGHT].any()


@pytest.mark.parametrize('method', METHODS)
def test_a_field_of_view_through_the_lung_keeps_it_up_to_the_rim(method):
    hu, lungs = chest(), RIGHT | LEFT
    cut = np.s_[:, :, 32:]  # through the middle of the right lung
    mask = lung_mask(scan(hu[cut]), method)
    assert dice(mask, lungs[cut]) > 0.96
    assert mask[14, 46, 0]
    outside = (Y - 115) ** 2 + (X - 160) ** 2 > 100**2  # a round one, padded
    for padding_hu in (-2000, -3024):
        hu[outside] = padding_hu
        mask = lung_mask(scan(hu), method)
        assert not mask[outside].any()
        assert dice(mask, lungs & ~outside) > 0.94


@pytest.mark.parametrize('method', METHODS)
def test_thick_missing_and_blank_slices(method):
    hu, lungs = chest(), RIGHT | LEFT
    thick = CTVolume(hu[::2], (10.0, 2.5, 2.5))
    assert dice(lung_mask(thick, method), lungs[::2]) > 0.96
    missing = np.delete(hu, [10, 11, 20], 0)
    assert (
        dice(lung_mask(scan(missing), method), np.delete(lungs, [10, 11, 20], 0)) > 0.96
    )
    hu[12] = -1024
    mask = lung_mask(scan(hu), method)
    assert not mask[12].any() and dice(mask, lungs) > 0.93


def test_pixels_that_are_not_square():
    hu, lungs = chest(), RIGHT | LEFT
    volume = CTVolume(hu[:, ::2], (5.0, 5.0, 2.5))
    assert dice(lung_mask(volume, 'watershed'), lungs[:, ::2]) > 0.95


def test_metal_changes_little():
    hu = chest()
    expected = lung_mask(scan(hu), 'watershed')
    metal = ball(70, 60, 160, 8)
    hu[metal] = 30000
    hu[np.abs(Y - 60 - (X - 160) / 4) < 3] -= 300  # a dark streak
    hu[metal] = 30000
    assert dice(lung_mask(scan(hu), 'watershed'), expected) > 0.97


def test_one_slice_is_enough():
    assert dice(lung_mask(scan(chest()[14:15]))[0], (RIGHT | LEFT)[14]) > 0.96


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda hu: hu + 1024, 'are these stored values'),
        (lambda hu: np.maximum(hu, 0), 'lowest value is 0, expected HU below -570'),
        (
            lambda hu: np.where(BODY, 40, hu),
            'no air within the body, other than free gas',
        ),
        (lambda hu: np.full(hu.shape, -1000), 'shows no lungs'),
        (lambda hu: hu - 1024.0 * (hu < -1), 'holds no air|no lungs'),
        (lambda hu: np.where(BODY, np.nan, hu), 'NaN or infinite'),
    ],
)
def test_what_is_no_chest_in_hu_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        lung_mask(scan(change(chest())))


def test_slices_that_are_not_axial_are_refused():
    turned = CTVolume(chest(), SPACING_MM, direction=[[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    with pytest.raises(ValueError, match='axial slices.*read_volume turns scans so'):
        lung_mask(turned)
    tilt = np.deg2rad(5)
    tilted = np.array(
        [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
    )
    assert lung_mask(CTVolume(chest(), SPACING_MM, direction=tilted)).any()


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(method='snake'), "'threshold' or 'watershed', but is 'snake'"),
        (dict(closing_mm=-1), 'closing_mm must be a radius of 0 mm or more, but is -1'),
        (
            dict(method='watershed', steps=WatershedSteps(top_hat=np.ones((4, 4)))),
            'top_hat must have two odd sides',
        ),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        lung_mask(scan(chest()), **arguments)


def test_same_result_as_the_notebook_with_its_footprints():
    peer = pytest.importorskip('benchmarks.lung_mask', reason='run from the root')
    volume = peer.chest(levels_mm=(80, 150))
    small = CTVolume(volume.array[:, ::2, ::2], (70.0, 1.48, 1.48))
    for ours, slice_hu in zip(peer.like_notebook(small), small.array):
        expected = peer.notebook_mask(slice_hu)
        assert expected.sum() > 5000
        assert np.array_equal(ours, expected)


def test_sides_are_the_patients_also_where_lungs_touch():
    hu = chest()
    hu[(np.abs(X - 160) < 22) & (np.abs(Y - 100) < 10) & (np.abs(Z - 70) < 12)] = -850
    mask = lung_mask(scan(hu))
    sides = left_right_lungs(mask, scan(hu))
    assert np.array_equal(sides != NO_LUNG, mask)
    assert (sides[RIGHT & mask] == RIGHT_LUNG).mean() > 0.99
    assert (sides[LEFT & mask] == LEFT_LUNG).mean() > 0.99
    mirrored = CTVolume(hu, SPACING_MM, direction=np.diag([-1.0, 1, 1]))
    assert np.array_equal(
        left_right_lungs(mask, mirrored) == LEFT_LUNG, sides == RIGHT_LUNG
    )
    assert (left_right_lungs(mask & RIGHT, scan(hu))[mask & RIGHT] == RIGHT_LUNG).all()
    with pytest.raises(ValueError, match='expected a non-empty mask'):
        left_right_lungs(mask & False, scan(hu))


@on_real_scan
@pytest.mark.parametrize('method, least', [('threshold', 0.975), ('watershed', 0.97)])
def test_dice_on_a_real_scan(method, least):
    truth = read_volume(DATA / 'wholeLung-64.nrrd').array > 0
    assert dice(lung_mask(read_volume(DATA / 'ct-64.nrrd'), method), truth) >= least


@on_real_scan
@pytest.mark.parametrize('method', METHODS)
def test_the_dicom_series_gives_the_mask_of_the_nrrd(method):
    series, nrrd = read_volume(DATA / 'dicom'), read_volume(DATA / 'ct-64.nrrd')
    assert np.array_equal(series.array, nrrd.array)
    assert np.array_equal(lung_mask(series, method), lung_mask(nrrd, method))
