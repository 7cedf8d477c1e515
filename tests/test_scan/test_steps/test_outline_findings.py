"""Outlines against lesions of known shape."""

import numpy as np
import pytest

from mmlesion.ct import CTVolume
from mmlesion.scan import Box3D, ScanResult
from mmlesion.scan.mask_findings import mask_axes_mm
from mmlesion.scan.steps import OutlineFindings, ScanCase


def case_of(hu, spacing, lower, upper, small_scan):
    """A scan with one finding around (z, y, x) edges."""
    volume = CTVolume(hu, spacing)
    result = small_scan()[1]
    result.findings = result.findings[:1]
    finding = result.findings[0]
    finding.box = Box3D(tuple(lower[::-1]), tuple(upper[::-1]))
    result.grid = volume.grid
    return ScanCase(volume, result), finding


def ball_in_lung(seed=0):
    """A ball of 9 mm radius in noisy lung, next to a vessel."""
    z, y, x = np.mgrid[:21, :64, :64]
    rng = np.random.default_rng(seed)
    hu = rng.normal(-850, 20, z.shape)
    ball = ((z - 10) * 2) ** 2 + (y - 30) ** 2 + (x - 32) ** 2 <= 9**2
    vessel = (np.abs(x - 44) < 2) & (z > 3)
    hu[ball | vessel] = rng.normal(40, 20, (ball | vessel).sum())
    return hu.astype(np.int16), ball


def test_candidates_outline_a_nodule_beside_a_vessel(small_scan):
    hu, ball = ball_in_lung()
    lower, upper = (5.5, 17.5, 19.5), (14.5, 42.5, 46.5)
    case, finding = case_of(hu, (2.0, 1.0, 1.0), lower, upper, small_scan)
    OutlineFindings()(case)
    labels = np.zeros(hu.shape, np.uint8)
    case.maps[1]['outline'].paint(labels, 1)
    overlap = 2 * (labels & ball).sum() / (labels.sum() + ball.sum())
    assert overlap > 0.97
    values = finding.extras['outline']
    assert values['method'] == 'candidates'
    assert values['volume_ml'] == pytest.approx(ball.sum() * 2 / 1000, rel=0.05)
    assert values['long_axis_mm'] == pytest.approx(18, abs=1.5)
    assert finding.provenance[-1].step == 'outline'
    assert case.result.provenance[-1].settings['method'] == 'candidates'
    ScanResult.from_dict(case.result.to_dict())  # plain values


def ball_at_mediastinum(radius, gap, curvature=None, seed=0):
    """A ball in lung, ``gap`` mm from tissue with a flat or round border."""
    z, y, x = np.mgrid[:25, :128, :128]
    hu = np.random.default_rng(seed).normal(-850, 20, z.shape)
    tissue = x >= 70
    if curvature:
        tissue = np.hypot(y - 64, x - 70 - curvature) <= curvature
    center = 70 - gap - radius
    ball = ((z - 12) * 2) ** 2 + (y - 64) ** 2 + (x - center) ** 2 <= radius**2
    ball &= ~tissue
    hu[tissue | ball] += 890
    return hu.astype(np.int16), ball, tissue


@pytest.mark.parametrize(
    'radius, gap, margin, shift, curvature',
    [
        (8, 1, 1.5, 0, None),
        (8, 0, 1.5, 0, None),
        (8, -2, 4, 0, None),
        (8, 0, 1.5, 4, None),
        (4, 0, 4, 0, None),
        (14, -3, 3, 0, None),
        (8, 0, 4, 0, 40),
    ],
)
def test_an_outline_at_the_mediastinum_does_not_leak_into_it(
    radius, gap, margin, shift, curvature, small_scan
):
    hu, ball, tissue = ball_at_mediastinum(radius, gap, curvature)
    edges = [np.flatnonzero(ball.any(axis)) for axis in ((1, 2), (0, 2), (0, 1))]
    lower = np.array([each[0] - 0.5 - margin for each in edges])
    upper = np.array([each[-1] + 0.5 + margin for each in edges])
    lower[2], upper[2] = lower[2] + shift, upper[2] + shift
    case, finding = case_of(hu, (2.0, 1.0, 1.0), lower, upper, small_scan)
    OutlineFindings()(case)
    labels = np.zeros(hu.shape, np.uint8)
    case.maps[1]['outline'].paint(labels, 1)
    assert finding.extras['outline']['method'] == 'candidates'
    assert not (labels[tissue] > 0).any()
    overlap = 2 * (labels & ball).sum() / (labels.sum() + ball.sum())
    assert overlap > 0.9


def test_an_outline_that_fills_its_box_is_replaced(small_scan):
    """A vessel crosses the whole box."""
    y, x = np.mgrid[:64, :64]
    vessel = np.abs(x - 32) < 10
    hu = np.where(vessel, 40, -850)[None].repeat(21, 0).astype(np.int16)
    lower, upper = (5.5, 17.5, 20.5), (14.5, 41.5, 44.5)
    case, finding = case_of(hu, (2.0, 1.0, 1.0), lower, upper, small_scan)
    OutlineFindings()(case)
    values = finding.extras['outline']
    assert values['method'] == 'ellipse'
    assert 'fills more than the ellipsoid' in values['reason']


def test_a_lesion_in_soft_tissue_gets_the_ellipsoid_of_its_box(small_scan):
    hu = np.full((21, 64, 64), 40, np.int16)
    lower, upper = (5.5, 17.5, 19.5), (14.5, 41.5, 49.5)
    case, finding = case_of(hu, (2.0, 1.0, 1.0), lower, upper, small_scan)
    OutlineFindings()(case)
    values = finding.extras['outline']
    assert values['method'] == 'ellipse'
    assert values['reason'] == 'not surrounded by lung'
    ellipsoid = np.pi / 6 * 18 * 24 * 30 / 1000  # sides 18, 24 and 30 mm
    assert values['volume_ml'] == pytest.approx(ellipsoid, rel=0.05)
    assert values['long_axis_mm'] == pytest.approx(30, abs=0.6)
    assert values['short_axis_mm'] == pytest.approx(24, abs=1)


def test_axes_of_a_turned_ellipse_with_oblong_pixels():
    y, x = np.mgrid[:120, :120]
    across, along = (y - 60) * 0.5, (x - 60) * 1.0  # mm
    u = along * np.cos(0.4) + across * np.sin(0.4)
    v = -along * np.sin(0.4) + across * np.cos(0.4)
    mask = ((u / 20) ** 2 + (v / 11) ** 2 <= 1)[None]
    long_mm, short_mm = mask_axes_mm(mask, (3.0, 0.5, 1.0))
    assert long_mm == pytest.approx(40, abs=1)
    assert short_mm == pytest.approx(22, abs=1)
    single = np.zeros((1, 3, 3), bool)
    single[0, 1, 1] = True
    assert mask_axes_mm(single, (1.0, 1.0, 1.0)) == pytest.approx((1, 1))


def test_only_the_best_findings_above_the_threshold_are_treated(small_scan):
    volume, result, _ = small_scan()
    case = ScanCase(volume, result)
    OutlineFindings(method='ellipse', score_thr=0.5)(case)
    assert 'outline' in result.findings[0].extras
    assert 'outline' not in result.findings[1].extras
    with pytest.raises(ValueError, match="but is 'snake'"):
        OutlineFindings(method='snake')
