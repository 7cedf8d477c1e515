"""Simulated chests: signs at the positions of their labels, and reproducibility."""

import functools

import numpy as np
import pytest

from mmlesion.ct.projections import region_slices
from mmlesion.phantom import Patient
from mmlesion.phantom.pathology import Cavity, Thickening
from mmlesion.phantom.sign_scan import Course, draw_course, simulate_sign_scan


@functools.cache
def course(seed, diseased=True):
    rng = np.random.default_rng(seed)
    return draw_course(Patient(rng), rng, diseased)


@pytest.fixture(scope='module')
def scans():
    """The last scan of some patients."""
    found = []
    for seed in range(6):
        one = course(seed)
        found.append(
            simulate_sign_scan(one, len(one.years) - 1, np.random.default_rng(seed), 80)
        )
    return found


def test_a_sign_lies_where_its_label_says(scans):
    seen = set()
    for scan in scans:
        parts = region_slices(scan.hu.shape)
        for sign, mask in scan.masks.items():
            assert not (mask & ~scan.lung).any()
            inside = {region for region, part in parts.items() if mask[part].any()}
            assert inside == scan.regions[sign]
            seen.add(sign)
        assert scan.regions['fungus_ball'] <= scan.regions['cavity']
    assert seen == {'cavity', 'fungus_ball', 'pleural_thickening'}


def test_truth_tells_place_and_volume_of_each_sign(scans):
    for scan in scans:
        parts = region_slices(scan.hu.shape)
        for sign, mask in scan.masks.items():
            rows = [one for one in scan.truth if one['sign'] == sign]
            volume = mask.sum() * np.prod(scan.spacing_mm)
            assert sum(one['volume_mm3'] for one in rows) == pytest.approx(volume)
            for one in rows:
                part = parts[one['region']]
                places = np.argwhere(mask[part]) + [index.start for index in part]
                np.testing.assert_allclose(places.mean(0), one['place'], atol=0.01)


def test_the_whole_of_both_lungs_is_seen(scans):
    for scan in scans:
        assert scan.hu.shape == (68, 80, 80) and scan.hu.dtype == np.int16
        for axis in range(3):
            edge = np.moveaxis(scan.lung, axis, 0)
            assert edge[0].sum() + edge[-1].sum() < 1e-4 * edge.sum()
        left, right = scan.lung[:, :, 40:].sum(), scan.lung[:, :, :40].sum()
        assert 0.6 < left / right < 1.6
        litres = scan.lung.sum() * np.prod(scan.spacing_mm) / 1e6
        assert 2.5 < litres < 9
        # The head is at the end: the liver lies at the beginning.
        assert scan.lung[:12].sum() < scan.lung[-30:-18].sum()


def test_cavities_hold_air_and_balls_do_not(scans):
    for scan in scans:
        if 'cavity' in scan.masks:
            hu = scan.hu[scan.masks['cavity']]
            assert (hu < -700).mean() > 0.05 and (hu > -200).mean() > 0.15
        if 'fungus_ball' in scan.masks:
            assert scan.hu[scan.masks['fungus_ball']].mean() > -250


def test_controls_have_nothing_and_one_scan():
    one = course(1, diseased=False)
    assert one.signs == [] and one.years == (0.0,)
    assert one.survival(0) is None
    scan = simulate_sign_scan(one, 0, np.random.default_rng(0), 64)
    assert scan.masks == {} and scan.truth == []
    assert not any(scan.regions.values())


def test_signs_come_and_grow_and_never_go():
    found = next(
        one
        for one in map(course, range(40))
        if len(one.years) >= 3 and max(s.onset for s in one.signs) > 0
    )
    first = simulate_sign_scan(found, 0, np.random.default_rng(0), 64)
    last = simulate_sign_scan(found, len(found.years) - 1, np.random.default_rng(1), 64)
    assert 0 < len(first.truth) < len(last.truth)
    for sign, regions in first.regions.items():
        assert regions <= last.regions[sign]
    sizes = [found.size(visit) for visit in range(len(found.years))]
    assert sizes == sorted(sizes) and sizes[-1] == 1 and sizes[0] >= 0.7


@pytest.mark.parametrize(
    'years, end, died, expected',
    [
        # Died 1.5 years after the last of three visits: the last alone is within two
        ((0.0, 1.0, 3.0), 4.5, True, [None, None, 1]),
        # Alive 3 years after: all are known to have survived two years
        ((0.0, 1.0, 3.0), 6.0, False, [0, 0, 0]),
        # Last seen 1 year after: of the last nothing is known
        ((0.0, 1.0, 3.0), 4.0, False, [0, 0, None]),
    ],
)
def test_survival_counts_two_years(years, end, died, expected):
    signs = course(0).signs
    one = Course(Patient(np.random.default_rng(0)), 0.5, signs, years, end, died)
    assert [one.survival(visit) for visit in range(3)] == expected


def volume_mm3(what):
    """Of a ball, or of a crescent: half as thick on average as in its middle."""
    if isinstance(what, Thickening):
        return np.pi * what.reach_mm**2 * what.thickness_mm / 2
    radius = what.radius_mm if isinstance(what, Cavity) else what.reach_mm
    return 4 / 3 * np.pi * radius**3


def test_those_who_die_have_more():
    """Extent of disease tells survival, though not surely."""
    volumes = {False: [], True: []}
    severities = {False: [], True: []}
    for seed in range(24):
        one = course(seed)
        volumes[one.died].append(sum(volume_mm3(sign.what) for sign in one.signs))
        severities[one.died].append(one.severity)
    assert np.median(volumes[True]) > 1.5 * np.median(volumes[False])
    assert min(severities[True]) < max(severities[False])


def test_the_same_seed_makes_the_same_scan():
    def scan(seed):
        return simulate_sign_scan(course(3), 0, np.random.default_rng(seed), 64)

    one, same, other = scan(1), scan(1), scan(2)
    np.testing.assert_array_equal(one.hu, same.hu)
    assert (one.hu != other.hu).any()
    assert one.regions == other.regions  # the same patient
