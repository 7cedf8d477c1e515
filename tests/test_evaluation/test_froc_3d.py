"""FROC curves of 3-D findings, compared with manually computed values."""

import numpy as np
import pytest

from mmlesion.evaluation.functional import box_iou_3d, froc_3d

CUBE = (0, 0, 0, 10, 10, 10)
FAR = (50, 50, 50, 60, 60, 60)


def test_iou_of_cubes():
    """Shifted by 5 of 10 along one axis: 500 / 1500; along all three: 125 / 1875."""
    boxes = [(5, 0, 0, 15, 10, 10), (5, 5, 5, 15, 15, 15), FAR, CUBE]
    np.testing.assert_allclose(box_iou_3d([CUBE], boxes), [[1 / 3, 125 / 1875, 0, 1]])
    # Without a volume there is no overlap
    assert box_iou_3d([(0, 0, 0, 0, 5, 5)], [(0, 0, 0, 0, 5, 5)]) == 0
    with pytest.raises(ValueError, match=r'boxes2 must be \(N, 6\)'):
        box_iou_3d([CUBE], [(0, 0, 1, 1)])


def test_two_scans_with_one_lesion_each():
    """Scan 1: hit .9, false .8; scan 2: false .7, hit .6.

    At .9: 1/2 of the lesions at 0 FP; at .6: 2/2 at 2 FP in 2 scans.
    """
    result = froc_3d(
        [[CUBE, FAR], [FAR, CUBE]],
        [[0.9, 0.8], [0.7, 0.6]],
        [[CUBE], [CUBE]],
        fps=(0.125, 0.5, 1),
        num_resamples=0,
    )
    np.testing.assert_allclose(result.sensitivity, [1 / 2, 1 / 2, 1])
    assert result.cpm == pytest.approx(2 / 3)
    assert result.curve.num_images == 2 and result.curve.num_lesions == 2


def test_scans_without_lesions_count():
    """One false positive in two scans is half of one a scan."""
    result = froc_3d([[CUBE, FAR], []], [[0.5, 0.9], []], [[CUBE], []], fps=(0, 0.5))
    np.testing.assert_allclose(result.sensitivity, [0, 1])


def test_the_center_must_be_closer_than_the_radius():
    lesions = [[(0, 0, 0, 5)]]
    for apart, hit in ((4.99, 1), (5.0, 0)):
        center = [[(0, apart, 0)]]
        result = froc_3d(center, [[0.9]], lesions, 'center', fps=(0,))
        assert result.sensitivity[0] == hit


def test_a_second_finding_on_a_lesion_is_neither():
    """Hits .9 and .8 on one lesion, then a false .7."""
    result = froc_3d(
        [[(0, 0, 0), (1, 0, 0), (90, 0, 0)]],
        [[0.9, 0.8, 0.7]],
        [[(0, 0, 0, 5)]],
        'center',
    )
    np.testing.assert_array_equal(result.curve.fp_per_image, [0, 0, 1])


def test_findings_on_excluded_lesions_are_neither():
    """LUNA16: the first finding lies on an excluded lesion, the second is false."""
    found, scores = [[(40, 0, 0), (90, 0, 0), (0, 0, 0)]], [[0.9, 0.8, 0.7]]
    lesions = [[(0, 0, 0, 5), (40, 0, 0, 5)]]
    result = froc_3d(
        found, scores, lesions, 'center', excluded=[[False, True]], fps=(0, 1)
    )
    assert result.curve.num_lesions == 1
    np.testing.assert_array_equal(result.curve.fp_per_image, [0, 1, 1])
    np.testing.assert_array_equal(result.curve.sensitivity, [0, 0, 1])
    counted = froc_3d(found, scores, lesions, 'center', fps=(0, 1))
    np.testing.assert_allclose(counted.curve.sensitivity, [0.5, 0.5, 1])


def test_an_overlapping_finding_below_the_threshold_is_false():
    """IoU 1/3 against thresholds of 0.3 and 0.4."""
    shifted = [[(5, 0, 0, 15, 10, 10)]]
    for threshold, hit in ((0.3, 1), (0.4, 0)):
        result = froc_3d(shifted, [[0.9]], [[CUBE]], iou_thr=threshold, fps=(8,))
        assert result.sensitivity[0] == hit
        assert result.curve.fp_per_image[0] == 1 - hit


def naive(found, scores, lesions):
    """LUNA16's script in plain loops, distinct scores."""
    ranked = sorted(
        ((score, scan, np.array(center))
         for scan, (centers, values) in enumerate(zip(found, scores))
         for center, score in zip(centers, values)),
        key=lambda each: -each[0],
    )  # fmt: skip
    hit, false, points = set(), 0, [(0.0, 0.0)]
    total = sum(len(each) for each in lesions)
    for _, scan, center in ranked:
        near = [
            (scan, number)
            for number, lesion in enumerate(lesions[scan])
            if ((center - lesion[:3]) ** 2).sum() < lesion[3] ** 2
        ]
        hit.update(near)
        false += not near
        points.append((false / len(lesions), len(hit) / total))
    return np.array(points).T


def test_against_plain_loops():
    rng = np.random.default_rng(1)
    lesions = [rng.uniform(0, 40, (n, 4)) * (1, 1, 1, 0.4) for n in (2, 0, 3, 1)]
    found = [rng.uniform(0, 40, (12, 3)) for _ in lesions]
    scores = [rng.uniform(0, 1, 12) for _ in lesions]
    result = froc_3d(found, scores, lesions, 'center', num_resamples=0)
    x, y = naive(found, scores, lesions)
    np.testing.assert_allclose(result.curve.fp_per_image, x[1:])
    np.testing.assert_allclose(result.curve.sensitivity, y[1:])


def test_intervals_resample_scans():
    """Nine scans all hit, one all missed: about 0.7 to 1."""
    found = [[CUBE]] * 9 + [[FAR]]
    result = froc_3d(found, [[0.9]] * 10, [[CUBE]] * 10, fps=(0.5, 1), seed=3)
    low, high = result.interval
    assert 0.6 <= low[1] <= 0.8 and high[1] == 1
    assert low[1] <= result.sensitivity[1] <= high[1]
    assert 0.6 <= result.cpm_interval[0] <= result.cpm <= result.cpm_interval[1]
    again = froc_3d(found, [[0.9]] * 10, [[CUBE]] * 10, fps=(0.5, 1), seed=3)
    np.testing.assert_array_equal(again.interval, result.interval)


def test_nothing_found_and_nothing_to_find():
    assert froc_3d([[]], [[]], [[CUBE]]).cpm == 0
    assert np.isnan(froc_3d([[CUBE]], [[0.5]], [[]]).cpm)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (([[CUBE]], [[0.5]], [[CUBE]], 'dice'), 'rule must be'),
        (([[CUBE]], [[0.5, 0.4]], [[CUBE]]), 'scan 0 has 1 findings but 2 scores'),
        (([[CUBE]], [[0.5]], []), 'one entry for each scan'),
        (([[CUBE]], [[np.nan]], [[CUBE]]), 'scores of scan 0 must be finite'),
        (([[(1, 2, 3)]], [[0.5]], [[CUBE]]), r'must have shape \(N, 6\)'),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        froc_3d(*arguments)
