"""Lung masks and sides in any field of view: generated scans and a real one."""

import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from mmlesion.ct import (
    LEFT_LUNG,
    RIGHT_LUNG,
    CTVolume,
    left_right_lungs,
    lung_doubts,
    lung_mask,
    read_volume,
)
from mmlesion.phantom import Patient, Protocol, Region, paint_anatomy
from mmlesion.phantom.scan import finish, paint_table

DATA = Path(__file__).resolve().parents[2].joinpath('../shared/data/chest_ct')
METHODS = ('threshold', 'watershed')
pytestmark = [
    pytest.mark.filterwarnings('ignore:the lung mask is doubtful'),
    pytest.mark.filterwarnings('ignore:only one lung is in the field of view'),
]


@lru_cache
def generated(seed, first_mm, last_mm, pixel_mm=4.0, step_mm=6.0):
    """Scan and true lungs of a patient between two levels below the lungs' top."""
    rng = np.random.default_rng(seed)
    patient, protocol = Patient(rng), Protocol.draw(rng)
    z = np.arange(first_mm, last_mm, step_mm) * patient.scale_z
    half = float(patient.half_axes(100)[0]) + 1.3 * patient.fat_mm + 25
    x = np.arange(-half, half, pixel_mm)
    canvas = paint_anatomy(z, x, x, patient, protocol.enhancement, True)
    paint_table(canvas, float(patient.half_axes(120)[1]) + 1.3 * patient.fat_mm + 6)
    protocol.spacing_mm, protocol.interval_mm = pixel_mm, step_mm
    finish(canvas.hu, protocol, rng)
    hu = np.clip(np.rint(canvas.hu), -1024, 3071).astype(np.int16)[::-1].copy()
    spacing = (step_mm * patient.scale_z, pixel_mm, pixel_mm)
    return CTVolume(hu, spacing), (canvas.labels == Region.LUNG)[::-1].copy()


@lru_cache
def real():
    if not DATA.is_dir():
        pytest.skip('no real chest CT next to the project')
    scan = read_volume(DATA / 'ct-64.nrrd')
    return scan, read_volume(DATA / 'wholeLung-64.nrrd').array > 0


def chest(name):
    return real() if name == 'real' else generated(int(name), -30, 300)


@lru_cache
def whole_mask(name, method):
    return lung_mask(chest(name)[0], method)


@lru_cache
def whole_sides(name):
    return left_right_lungs(whole_mask(name, 'threshold'), chest(name)[0])


def cut(scan, part):
    start = [at.indices(size)[0] for at, size in zip(part, scan.shape)]
    return CTVolume(
        scan.array[part], scan.spacing_mm, scan.index_to_world(start), scan.direction
    )


def share(first, last):
    """Slice of an axis between two shares of its length, for each given axis."""
    return lambda size: slice(round(first * size), round(last * size))


WHOLE = share(0, 1)
CROPS = {
    f'{axis}{side}{percent}': tuple(
        (share(percent / 100, 1) if side == '-' else share(0, 1 - percent / 100))
        if axis == other
        else WHOLE
        for other in 'zyx'
    )
    for axis in 'zyx'
    for side in '-+'
    for percent in (25, 50)
}
CROPS['heart'] = (share(0.25, 0.75),) * 3
CROPS['inner'] = WHOLE, share(0.3, 0.7), share(0.3, 0.7)
REFINED = ('z-50', 'y+50', 'x-50', 'heart', 'inner', 'left lung')
ONE_LUNG = {
    'left lung': (WHOLE, WHOLE, share(0.57, 1)),
    'right lung': (WHOLE, WHOLE, share(0, 0.43)),
    'inside the left lung': (share(0.25, 0.75), share(0.25, 0.75), share(0.5, 0.8)),
    'inside the right lung': (share(0.25, 0.75), share(0.25, 0.75), share(0.2, 0.5)),
    'side of the left lung': (WHOLE, WHOLE, share(0.7, 1)),
}


def part_of(scan, crop):
    return tuple(axis(size) for axis, size in zip(crop, scan.shape))


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def right_share(sides, expected):
    both = (sides > 0) & (expected > 0)
    return (sides == expected)[both].mean()


@pytest.mark.parametrize('name', ['real', '0'])
def test_every_crop_has_the_mask_of_the_whole_scan(name):
    scan = chest(name)[0]
    found = {
        (crop, method): dice(
            lung_mask(cut(scan, part), method), whole_mask(name, method)[part]
        )
        for crop, axes in (CROPS | ONE_LUNG).items()
        for part in [part_of(scan, axes)]
        for method in (METHODS if crop in REFINED else METHODS[:1])
    }
    assert min(found.values()) >= 0.95, {k: v for k, v in found.items() if v < 0.95}


@pytest.mark.parametrize('name', ['0', '3'])
def test_whole_generated_chests(name):
    scan, truth = chest(name)
    assert dice(lung_mask(scan), truth) > 0.96
    assert dice(lung_mask(scan, 'watershed'), truth) > 0.96


@pytest.mark.parametrize('name', ['real', '0', '3'])
def test_sides_of_every_crop(name):
    scan, sides = chest(name)[0], whole_sides(name)
    assert (sides == LEFT_LUNG).sum() > 0.35 * (sides > 0).sum()
    x = [np.nonzero(sides == side)[2].mean() for side in (RIGHT_LUNG, LEFT_LUNG)]
    assert x[0] < scan.shape[2] / 2 < x[1]
    found = {}
    for crop, axes in (CROPS | ONE_LUNG).items():
        part = part_of(scan, axes)
        small = cut(scan, part)
        found[crop] = right_share(
            left_right_lungs(lung_mask(small), small), sides[part]
        )
    assert min(found.values()) >= 0.98, found


@pytest.mark.parametrize('name', ['real', '0'])
@pytest.mark.parametrize('degrees', [-25, 12])
def test_sides_of_a_turned_patient(name, degrees):
    scan, sides = chest(name)[0], whole_sides(name)
    hu, expected = (
        ndimage.rotate(array, degrees, (1, 2), reshape=False, order=order, cval=cval)
        for array, order, cval in ((scan.array, 1, -1000), (sides, 0, 0))
    )
    turned = CTVolume(hu, scan.spacing_mm)
    assert right_share(left_right_lungs(lung_mask(turned), turned), expected) >= 0.98


@pytest.mark.parametrize('name', ['real', '3'])
@pytest.mark.parametrize(
    'flip, direction, step',
    [
        (np.s_[:, :, ::-1], (-1, 1, 1), 1),  # stored from left to right
        (np.s_[::-1], (1, 1, -1), 1),  # from head to feet
        (np.s_[:, ::-1, ::-1], (-1, -1, 1), 1),  # prone
        (np.s_[28:30], (1, 1, 1), 1),  # two slices
        (np.s_[28:29], (1, 1, 1), 1),
        (np.s_[::2], (1, 1, 1), 2),
    ],
)
def test_mask_and_sides_do_not_depend_on_storage(name, flip, direction, step):
    scan = chest(name)[0]
    spacing = (step * scan.spacing_mm[0], *scan.spacing_mm[1:])
    stored = CTVolume(
        scan.array[flip], spacing, direction=np.diag(np.array(direction, float))
    )
    mask = lung_mask(stored)
    assert dice(mask, whole_mask(name, 'threshold')[flip]) > 0.97
    assert right_share(left_right_lungs(mask, stored), whole_sides(name)[flip]) >= 0.98


@pytest.mark.parametrize('name', ['real', '0'])
@pytest.mark.parametrize('lost', [LEFT_LUNG, RIGHT_LUNG])
def test_a_patient_with_one_lung(name, lost):
    scan, sides = chest(name)[0], whole_sides(name)
    hu = scan.array.copy()
    hu[ndimage.binary_dilation(sides == lost, iterations=2)] = 40
    one = CTVolume(hu, scan.spacing_mm)
    with pytest.warns(UserWarning, match='doubtful: the (left|right) lung holds'):
        mask = lung_mask(one)
    rest = sides * (sides != lost)
    assert right_share(left_right_lungs(mask, one), rest) >= 0.98


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('levels', [(345, 470), (470, 690)], ids=['abdomen', 'pelvis'])
def test_bowel_gas_is_no_lung(seed, levels):
    scan, truth = generated(seed, *levels)
    assert not truth.any()
    with pytest.raises(ValueError, match='shows no lungs'):
        lung_mask(scan)


def test_stomach_and_bowels_below_the_lungs_stay_out():
    scan, truth = generated(1, -50, 480)
    assert dice(lung_mask(scan), truth) > 0.96


def head(pixel_mm=2.0):
    """Skull with brain, sinuses, nose, mastoid cells and a pharynx."""
    z, y, x = np.meshgrid(
        *(np.arange(-a, a, s) for a, s in ((110, 4), (120, pixel_mm), (100, pixel_mm))),
        indexing='ij',
    )

    def ball(place, radii):
        return sum(((c - p) / r) ** 2 for c, p, r in zip((z, y, x), place, radii)) < 1

    hu = np.full(z.shape, -1000.0)
    hu[ball((0, 0, 0), (105, 100, 80))] = 20
    hu[ball((0, 0, 0), (98, 93, 73))] = 900
    hu[ball((0, 0, 0), (92, 87, 67))] = 35
    for side in (-1, 1):
        hu[ball((-45, -65, side * 26), (18, 16, 15))] = -995
        cells = ball((-40, 30, side * 58), (18, 15, 10))
        hu[cells] = np.where(np.sin(x + y + z)[cells] > 0, -900, 600)
    hu[ball((-40, -62, 0), (25, 30, 7))] = -990
    hu[(np.abs(x) < 9) & (np.abs(y) < 10) & (z < -40) & (z > -100)] = -995
    hu += np.random.default_rng(0).normal(0, 15, hu.shape)
    return CTVolume(hu.astype(np.int16), (4.0, pixel_mm, pixel_mm))


def test_a_head_and_air_around_have_no_lungs():
    with pytest.raises(ValueError, match='shows no lungs'):
        lung_mask(head())
    air = np.random.default_rng(0).normal(-1000, 20, (10, 64, 64))
    with pytest.raises(ValueError, match='shows no lungs'):
        lung_mask(CTVolume(air, (5, 4, 4)))
    y, x = np.mgrid[-100:100:4, -100:100:4]
    water = np.where(np.hypot(y, x) < 80, 0, air[:, :50, :50])  # a test object
    with pytest.raises(ValueError, match='shows no lungs'):
        lung_mask(CTVolume(water, (5, 4, 4)))


def test_foam_below_a_body_that_fills_the_view_is_no_lung():
    scan, truth = real()
    mask = lung_mask(scan)
    assert mask[~ndimage.binary_dilation(truth, iterations=2)].mean() < 0.001


@pytest.mark.parametrize('kind', [np.int32, np.float64, np.float32])
@pytest.mark.parametrize('method', METHODS)
def test_any_type_of_voxels(method, kind):
    scan = chest('0')[0]
    other = CTVolume(scan.array.astype(kind), scan.spacing_mm)
    assert np.array_equal(lung_mask(other, method), whole_mask('0', method))


def test_a_plausible_mask_raises_no_doubt():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        lung_mask(chest('0')[0], 'watershed')
        lung_mask(cut(chest('0')[0], np.s_[15:40, :, 25:]), 'watershed')


def test_doubts_name_what_is_odd():
    scan, truth = chest('0')
    sides = left_right_lungs(truth, scan)
    assert lung_doubts(truth, scan, True) == []
    neck, below = generated(1, -50, 480)
    assert lung_doubts(below, neck, False) == ['no trachea leads to it from above']
    assert 'left lung holds 0 ml' in lung_doubts(sides == RIGHT_LUNG, scan)[0]
    soft = CTVolume(np.where(truth, 30, scan.array), scan.spacing_mm)
    assert 'only 0% of it is below -400 HU' in lung_doubts(truth, soft)[0]
    gas = CTVolume(np.where(truth, -1000, scan.array), scan.spacing_mm)
    assert '100% of it is below -960 HU' in lung_doubts(truth, gas)[0]
    tiny = CTVolume(scan.array, [0.3 * one for one in scan.spacing_mm])
    assert 'ml, expected 600 to 9500 ml' in lung_doubts(truth, tiny)[0]
