"""Simulated chests: signs at the positions of their labels, and reproducibility."""

import copy
import functools

import numpy as np
import pytest
from scipy import ndimage

from mmlesion.ct.projections import region_slices
from mmlesion.phantom import MIMICS, Patient, sign_course
from mmlesion.phantom.lung_space import LungSpace
from mmlesion.phantom.mimics import ApicalCap, Bulla, Effusion
from mmlesion.phantom.pathology import (
    BACKGROUNDS,
    SIGNS,
    Background,
    Cavity,
    Thickening,
)
from mmlesion.phantom.sign_course import Course, Sign, draw_course
from mmlesion.phantom.sign_scan import simulate_sign_scan


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
    assert seen == set(SIGNS)


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


def test_mimics_and_other_diseases_of_a_control_carry_no_label():
    one = course(1, diseased=False)
    assert one.years == (0.0,) and one.survival(0) is None and not one.diseased
    scale = (one.patient.scale_x, one.patient.scale_y, one.patient.scale_z)
    rng = np.random.default_rng(0)
    effusion, cap = Effusion.draw(1, scale, rng), ApicalCap.draw(-1, scale, rng)
    bulla = Bulla((-60.0 * scale[0], 0.0, 90.0 * scale[2]), 20.0, (1.0, 0.9, 0.9))
    disease = Background(
        'consolidation', (60.0, 0.0, 120.0), 20.0, 0.5, (42, 10, 130), 1
    )
    one = Course(
        one.patient,
        signs=[
            Sign('left_lower', effusion),
            Sign('left_middle', disease),
            Sign('right_upper', bulla),
            Sign('right_upper', cap),
        ],
    )
    scan = simulate_sign_scan(one, 0, np.random.default_rng(0), 96)
    assert scan.masks == {} and not any(scan.regions.values())
    assert [row['sign'] for row in scan.truth] == [
        'pleural_effusion',
        'consolidation',
        'bulla',
        'apical_cap',
    ]
    assert set(scan.mimics) == set(MIMICS)
    for row in scan.truth:
        if row['sign'] in MIMICS:
            mask = scan.mimics[row['sign']]
            np.testing.assert_allclose(np.argwhere(mask).mean(0), row['place'])
            assert row['volume_mm3'] == pytest.approx(
                mask.sum() * np.prod(scan.spacing_mm)
            )
    fluid = scan.mimics['pleural_effusion']
    core = ndimage.binary_erosion(fluid)
    assert abs(scan.hu[core].mean() - effusion.hu) < 2 and -10 <= effusion.hu <= 25
    assert not (fluid & scan.lung).any()
    assert not fluid[:, :, :48].any()  # the patient's left
    # At the back (y rises), and in the lower half of the scan
    z, y, _ = np.nonzero(fluid)
    assert y.mean() > 48 + 10 and z.mean() < 0.5 * len(fluid)
    air = ndimage.binary_erosion(scan.mimics['bulla'], iterations=2)
    assert scan.hu[air].mean() < -950
    # Thin: its voxels are within 5 mm and a voxel of the surface of the lung
    depth = ndimage.distance_transform_edt(scan.lung, sampling=scan.spacing_mm)
    assert depth[scan.mimics['apical_cap']].max() < 5 + max(scan.spacing_mm)
    assert np.nonzero(scan.mimics['apical_cap'])[0].min() > 0.7 * len(fluid)


def test_thickened_pleura_has_3_to_15_mm():
    drawn = [
        Thickening.draw((0, 0, 0), 30.0, np.random.default_rng(seed)).thickness_mm
        for seed in range(200)
    ]
    assert 3 <= min(drawn) < 3.5 and 14.5 < max(drawn) <= 15
    patient = Patient(np.random.default_rng(7))
    space = LungSpace(patient)
    rng = np.random.default_rng(3)
    for region in ('left_upper', 'right_middle'):
        place = space.find(space.surface, region, 36.0, rng)
        center = tuple(place.tolist())
        for thickness in (3.0, 8.0, 15.0):
            what = Thickening(center, 36.0, thickness, 40.0, 5)
            one = Course(patient, signs=[Sign(region, what)])
            scan = simulate_sign_scan(one, 0, np.random.default_rng(1), 96)
            depth = ndimage.distance_transform_edt(scan.lung, sampling=scan.spacing_mm)
            # From the wall to the deepest voxel, give or take a voxel of 3 to 4 mm
            deepest = depth[scan.masks['pleural_thickening']].max()
            assert abs(deepest - thickness) < 3.5


def test_other_diseases_and_mimics_do_not_tell_patients_from_controls(monkeypatch):
    patient = Patient(np.random.default_rng(0))
    space = LungSpace(patient)
    monkeypatch.setattr(sign_course, 'LungSpace', lambda patient: copy.copy(space))

    def count(diseased):
        found = {'any': 0, **dict.fromkeys(('Background', *MIMICS), 0)}
        for seed in range(80):
            one = draw_course(patient, np.random.default_rng(seed), diseased, 1)
            kinds = {
                getattr(sign.what, 'kind', None)
                for sign in one.signs
                if not isinstance(sign.what, (Cavity, Thickening))
            }
            found['any'] += bool(kinds)
            found['Background'] += any(kind in BACKGROUNDS for kind in kinds)
            for kind in MIMICS:
                found[kind] += kind in kinds
            assert one.diseased == diseased
        return {kind: number / 80 for kind, number in found.items()}

    patients, controls = count(True), count(False)
    for kind, share in controls.items():
        assert abs(share - patients[kind]) < 0.2
    assert 0.6 < controls['any'] < 0.95  # some controls are healthy
    assert controls['Background'] > 0.4
    assert all(controls[kind] > 0.1 for kind in MIMICS)


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
    """Of a ball, or of a crescent: half as thick on average as its highest lump."""
    if isinstance(what, Thickening):
        return np.pi * what.reach_mm**2 * what.thickness_mm / 2
    return 4 / 3 * np.pi * what.radius_mm**3


def test_those_who_die_have_more():
    """Extent of disease tells survival, though not surely."""
    volumes = {False: [], True: []}
    severities = {False: [], True: []}
    for seed in range(16, 34):
        one = course(seed)
        volumes[one.died].append(
            sum(
                volume_mm3(sign.what)
                for sign in one.signs
                if isinstance(sign.what, (Cavity, Thickening))
            )
        )
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
