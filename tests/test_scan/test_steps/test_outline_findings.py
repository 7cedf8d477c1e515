"""Outlines against lesions of known shape."""

import numpy as np
import pytest

from mmlesion.ct import CTVolume
from mmlesion.scan import Box3D, ScanResult
from mmlesion.scan.steps import OutlineFindings, ScanCase, mask_axes_mm


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


def test_a_lesion_in_soft_tissue_gets_the_ellipsoid_of_its_box(small_scan):
    hu = np.full((21, 64, 64), 40, np.int16)
    lower, upper = (5.5, 17.5, 19.5), (14.5, 41.5, 49.5)
    case, finding = case_of(hu, (2.0, 1.0, 1.0), lower, upper, small_scan)
    OutlineFindings()(case)
    values = finding.extras['outline']
    assert values['method'] == 'ellipse'
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
