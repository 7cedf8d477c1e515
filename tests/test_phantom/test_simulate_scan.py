import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage

from mmlesion.phantom import (
    Enhancement,
    Patient,
    Region,
    paint_anatomy,
    simulate_scan,
)

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.focus_course import connected_piece, measure_focus  # noqa: E402


def _scan(seed, size=160, **kwargs):
    return simulate_scan(
        Patient(np.random.default_rng(seed)),
        np.random.default_rng(10_000 + seed),
        size,
        **kwargs,
    )


@pytest.fixture(scope='module')
def scans():
    return [_scan(seed) for seed in range(60)]


def _hu_at(canvas, label):
    return canvas.hu[canvas.labels == label]


def test_tissues_have_their_hounsfield_units():
    """Median HU of every tissue, through chest, belly and pelvis."""
    grid = np.arange(-190, 190, 2.0)
    patient, plain = Patient(np.random.default_rng(0)), Enhancement(0.0)
    level = {
        name: np.array([z * patient.scale_z])
        for name, z in (
            ('chest', 110.0),
            ('liver', 280.0),
            ('kidney', 340.0),
            ('pelvis', 520.0),
        )
    }
    seen = {
        name: paint_anatomy(z, grid, grid, patient, plain, with_labels=True)
        for name, z in level.items()
    }
    assert seen['chest'].hu[0, 0, 0] == -1000
    assert -900 < np.median(_hu_at(seen['chest'], Region.LUNG)) < -800
    assert -110 < np.median(_hu_at(seen['chest'], Region.MEDIASTINUM)) < -80
    assert 50 < np.median(_hu_at(seen['liver'], Region.LIVER)) < 65
    assert 25 < np.median(_hu_at(seen['kidney'], Region.KIDNEY)) < 45
    assert -110 < np.median(_hu_at(seen['pelvis'], Region.PELVIS)) < -90
    for canvas in seen.values():
        assert 100 < np.median(_hu_at(canvas, Region.BONE)) < 400
        assert canvas.hu.max() > 400  # compact bone
    for canvas in seen.values():
        soft = _hu_at(canvas, Region.SOFT_TISSUE)
        assert ((soft > 40) & (soft < 70)).mean() > 0.25  # muscle
        assert ((soft > -115) & (soft < -90)).mean() > 0.05  # fat


def test_contrast_medium_brightens_the_organs():
    grid = np.arange(-190, 190, 3.0)
    patient = Patient(np.random.default_rng(1))
    z = np.array([290 * patient.scale_z])
    liver = [
        np.median(
            _hu_at(
                paint_anatomy(z, grid, grid, patient, Enhancement(s), True),
                Region.LIVER,
            )
        )
        for s in (0.0, 1.0)
    ]
    assert 40 < liver[1] - liver[0] < 60


def test_patients_differ_and_one_patient_stays_the_same():
    grid, z = np.arange(-190, 190, 4.0), np.array([300.0])
    one, again, other = (
        paint_anatomy(
            z, grid, grid, Patient(np.random.default_rng(s)), Enhancement(0.5)
        ).hu
        for s in (5, 5, 6)
    )
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).mean() > 30


def test_small_field_of_view_is_a_part_of_the_same_anatomy():
    patient, e = Patient(np.random.default_rng(2)), Enhancement(0.7)
    grid, z = np.arange(-120, 120, 1.0), np.array([200.0, 202.0])
    whole = paint_anatomy(z, grid, grid, patient, e).hu
    part = paint_anatomy(z, grid[60:130], grid[100:180], patient, e).hu
    np.testing.assert_allclose(part, whole[:, 60:130, 100:180], atol=0.5)


def test_scan_covers_its_context_and_measures_every_lesion(scans):
    for scan in scans:
        depth, height, width = scan.hu.shape
        assert (height, width) == (160, 160)
        assert scan.key * scan.interval_mm >= 20 and depth == 2 * scan.key + 1
        assert 0.5 <= scan.spacing_mm <= 0.98
        assert scan.hu.dtype == np.int16
        assert scan.hu.min() >= -1024 and scan.hu.max() <= 3071
        assert 1 <= len(scan.lesions) <= 3 and 1 <= len(scan.vessels) <= 6
        for n, (lesion, drawn) in enumerate(zip(scan.lesions, scan.diameters)):
            mask = scan.mask == n + 1
            assert mask[scan.key].any()
            assert 3 < drawn.long_px * scan.spacing_mm < 75
            assert drawn.short_px <= drawn.long_px + 0.5
            rows, columns = np.nonzero(mask[scan.key])
            x1, y1, x2, y2 = drawn.bbox
            overlap = (
                (columns >= x1) & (columns <= x2) & (rows >= y1) & (rows <= y2)
            ).mean()
            assert overlap > 0.95
            # The true lesion ends before the slices do.
            assert not mask[[0, -1]].any()
            assert 1 <= lesion.region <= 8


def test_lesions_differ_from_their_surroundings(scans):
    """Contrast: the lesion's median against a rim around it, above the noise."""
    steps = []
    for scan in scans:
        key = cv2.GaussianBlur(scan.hu[scan.key].astype(np.float32), (0, 0), 1)
        anything = scan.mask[scan.key] > 0
        for n in range(len(scan.lesions)):
            mask = scan.mask[scan.key] == n + 1
            near, far = (ndimage.binary_dilation(mask, iterations=i) for i in (3, 6))
            rim = far & ~near & ~anything
            steps.append(abs(np.median(key[mask]) - np.median(key[rim])))
    assert np.quantile(steps, 0.1) > 20
    assert np.median(steps) > 60


def test_all_regions_can_carry_a_lesion():
    for region in list(Region)[1:]:
        scan = _scan(int(region), region=region)
        assert region in {f.region for f in scan.lesions + scan.vessels}


def test_whole_body_field_of_view_shows_table_and_air():
    scan = _scan(3, size=512, context_mm=2)
    key = scan.hu[scan.key]
    body = key > -300
    # Nothing is cut off above the table, which alone reaches the sides.
    assert not body[:200, :4].any() and not body[:200, -4:].any()
    assert not body[:4].any()
    assert 0.1 < body.mean() < 0.7
    assert (key[:10] < -900).mean() > 0.9
    columns = body[-150:, [20, 255, 490]]
    assert columns.any(0).all()


def test_a_second_key_slice_goes_on_where_the_first_ends():
    patient, rng = Patient(np.random.default_rng(8)), np.random.default_rng(9)
    one = simulate_scan(patient, rng, 160, 10, Region.LIVER)
    two = simulate_scan(patient, rng, 160, 10, follow=one)
    between = two.layout.z_mm - one.layout.z_mm
    assert between == pytest.approx((len(one.hu) - one.key + two.key) * one.interval_mm)
    assert two.origin_mm == one.origin_mm and two.spacing_mm == one.spacing_mm

    # The slices that meet differ by little more than two slices of one stack do.
    def step(a, b):
        smooth = [cv2.GaussianBlur(p.astype(np.float32), (0, 0), 2) for p in (a, b)]
        return np.median(np.abs(smooth[0] - smooth[1]))

    assert step(one.hu[-1], two.hu[0]) < 3 * step(one.hu[-2], one.hu[-1]) + 5


def test_lesions_without_look_alikes():
    assert _scan(6, num_vessels=(0, 0)).vessels == []


def test_same_seed_same_pixels():
    one, two = _scan(4), _scan(4)
    np.testing.assert_array_equal(one.hu, two.hu)
    np.testing.assert_array_equal(one.mask, two.mask)


def test_too_small_an_image_is_refused_in_one_sentence():
    with pytest.raises(RuntimeError, match='no lesion fits'):
        _scan(0, size=8, region=Region.LIVER)


# One slice must not be enough -------------------------------------------------------


def _auc(lesions, vessels):
    """Probability that a lesion's value is above a vessel's, ties counting half."""
    lesions, vessels = np.asarray(lesions)[:, None], np.asarray(vessels)[None]
    return float((lesions > vessels).mean() + 0.5 * (lesions == vessels).mean())


def _radiomics(scan, plane, focus):
    """Shape, intensity and position of a focus in the key slice alone, or None."""
    x, y = ((focus.center[i] - scan.origin_mm[i]) / scan.spacing_mm for i in (0, 1))
    size = focus.radius_mm / scan.spacing_mm
    rows, columns = np.mgrid[: plane.shape[0], : plane.shape[1]]
    away = np.hypot(columns - x, rows - y)
    inside = np.median(plane[away < max(1.5, 0.45 * size)])
    rim = plane[(away > 1.3 * size + 2) & (away < 1.3 * size + 6)]
    sign, threshold = np.sign(inside - np.median(rim)), (inside + np.median(rim)) / 2
    reach, seed = 2 * size + 3, away < max(1.5, 0.3 * size)
    piece = connected_piece(plane, threshold, sign, x, y, reach, seed)
    if piece is None or abs(inside - np.median(rim)) < 25 or piece.sum() < 5:
        return None
    outlines, _ = cv2.findContours(
        piece.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    outline = max(outlines, key=len)
    area, length = piece.sum(), max(cv2.arcLength(outline, True), 1)
    hull = max(cv2.contourArea(cv2.convexHull(outline)), 1)
    axes = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(np.nonzero(piece))), 0.01))
    values = scan.hu[scan.key][piece].astype(float)
    edge = np.hypot(*np.gradient(plane))
    border = piece ^ ndimage.binary_erosion(piece)
    return (
        *(np.sqrt(area) * scan.spacing_mm, length / np.sqrt(area), area / hull),
        *(axes[0] / axes[1], 4 * np.pi * area / length**2),
        *(values.mean(), values.std(), *np.percentile(values, (5, 25, 50, 75, 95))),
        *(rim.mean(), rim.std(), values.mean() - rim.mean(), edge[border].mean()),
        *(((values - values.mean()) ** 3).mean() / (values.std() + 1) ** 3,),
        *(x / plane.shape[1], y / plane.shape[0]),
    )


@pytest.fixture(scope='module')
def foci(scans):
    """Measures in 3-D and radiomics in one slice of lesions and vessels."""
    measured = {'lesions': [], 'vessels': []}
    radiomics, labels, patients = [], [], []
    for number, scan in enumerate([*scans, *(_scan(n) for n in range(100, 160))]):
        planes = [cv2.GaussianBlur(p.astype(np.float32), (0, 0), 1) for p in scan.hu]
        for kind, values in measured.items():
            for focus in getattr(scan, kind):
                found = measure_focus(planes, scan, focus)
                values += [] if found is None else [found]
                found = _radiomics(scan, planes[scan.key], focus)
                if found is not None:
                    radiomics.append(found)
                    labels.append(kind == 'lesions')
                    patients.append(number)
    return measured, np.array(radiomics, np.float32), np.array(labels), patients


def _forest_scores(features, labels, patients, seed=0):
    """Scores of a random forest for each focus of patients that it has not seen."""
    fold = np.asarray(patients) % 5
    scores = np.zeros(len(labels))
    for held_out in range(5):
        cv2.setRNGSeed(seed)
        forest = cv2.ml.RTrees_create()
        forest.setMaxDepth(8)
        forest.setMinSampleCount(5)
        forest.setTermCriteria((cv2.TERM_CRITERIA_MAX_ITER, 200, 0))
        kept = fold != held_out
        # Regression of 0 and 1: the mean over trees is a score
        targets = labels[kept].astype(np.float32)
        forest.train(features[kept], cv2.ml.ROW_SAMPLE, targets)
        scores[~kept] = forest.predict(features[~kept])[1].ravel()
    return scores


def test_radiomics_of_one_slice_do_not_tell_lesions_from_vessels(foci):
    """A random forest on shape, intensity and position is close to chance."""
    _, features, labels, patients = foci
    assert labels.sum() > 80 and (~labels).sum() > 250
    scores = _forest_scores(features, labels, patients)
    assert 0.35 < _auc(scores[labels], scores[~labels]) < 0.65
    # The same forest finds a leak of 1 standard deviation in one feature
    leaking = features.copy()
    leaking[labels, 5] += leaking[:, 5].std()
    scores = _forest_scores(leaking, labels, patients)
    assert _auc(scores[labels], scores[~labels]) > 0.65


def test_one_slice_does_not_tell_lesions_from_vessels_but_their_course_does(foci):
    measured = foci[0]
    lesions, vessels = (np.array(measured[k]) for k in ('lesions', 'vessels'))
    assert len(lesions) > 60 and len(vessels) > 200
    for column in (0, 1, 2):  # radius, HU, roundness
        assert 0.4 < _auc(lesions[:, column], vessels[:, column]) < 0.6
    close = [v[~np.isnan(v[:, 3]), 3] for v in (lesions, vessels)]
    assert 0.3 < _auc(*close) < 0.7  # +-2 mm
    assert _auc(lesions[:, 4], vessels[:, 4]) < 0.1  # followed to +-14 mm
