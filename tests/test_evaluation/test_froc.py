import json

import numpy as np
import pytest

from mmlesion.evaluation.functional import FROCCurve, box_iou, froc, match_boxes

LESION = [10, 10, 30, 30]  # 20 x 20 pixels
OTHER = [60, 60, 80, 80]
NOWHERE = [100, 100, 120, 120]


def points(curve):
    return list(zip(curve.fp_per_image.tolist(), curve.sensitivity.tolist()))


def naive_curve(pred_boxes, pred_scores, gt_boxes, iou_thr=0.5, plus_one=False):
    """The authors' rules box by box; equal scores make one point."""
    ranked = sorted(
        (
            (score, image, box)
            for image, scores in enumerate(pred_scores)
            for box, score in enumerate(scores)
        ),
        key=lambda item: -item[0],
    )
    found = [[False] * len(boxes) for boxes in gt_boxes]
    total = sum(len(boxes) for boxes in gt_boxes)
    fp = hits = 0
    curve = []
    for position, (score, image, box) in enumerate(ranked):
        overlaps = [
            box_iou([pred_boxes[image][box]], [lesion], plus_one)[0, 0]
            for lesion in gt_boxes[image]
        ]
        if not overlaps or max(overlaps) < iou_thr:
            fp += 1
        for lesion, overlap in enumerate(overlaps):
            if overlap >= iou_thr and not found[image][lesion]:
                found[image][lesion] = True
                hits += 1
        last = position == len(ranked) - 1
        if last or ranked[position + 1][0] < score:
            curve.append((fp / len(gt_boxes), hits / total))
    return curve


def random_case(seed, num_images=12, ties=False):
    rng = np.random.default_rng(seed)
    pred_boxes, pred_scores, gt_boxes = [], [], []
    for _ in range(num_images):
        corner = rng.integers(0, 60, (rng.integers(0, 4), 2))
        lesions = np.c_[corner, corner + rng.integers(5, 40, corner.shape)]
        corner = rng.integers(0, 60, (rng.integers(0, 9), 2))
        boxes = np.c_[corner, corner + rng.integers(5, 40, corner.shape)]
        if len(lesions):
            near = lesions[rng.integers(0, len(lesions), 6)]
            boxes = np.r_[boxes, near + rng.integers(-4, 5, near.shape)]
        scores = rng.random(len(boxes))
        pred_boxes.append(boxes)
        pred_scores.append(np.round(scores, 1) if ties else scores)
        gt_boxes.append(lesions)
    return pred_boxes, pred_scores, gt_boxes


def test_edges_equal_the_first_and_the_last_pixel():
    """The convention of COCO without +1 is that of the authors' code with +1."""
    boxes, scores, lesions = random_case(3)
    edges = [[each + [0, 0, 1, 1] for each in part] for part in (boxes, lesions)]
    assert points(froc(edges[0], scores, edges[1])) == points(
        froc(boxes, scores, lesions, plus_one=True)
    )


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('plus_one', [False, True])
@pytest.mark.parametrize('seed', range(5))
def test_equals_a_loop_over_boxes(seed, plus_one, ties):
    case = random_case(seed, ties=ties)
    curve = froc(*case, plus_one=plus_one)
    assert points(curve) == naive_curve(*case, plus_one=plus_one)
    assert curve.num_lesions == sum(len(boxes) for boxes in case[2])


def test_a_hit_a_miss_and_a_false_positive():
    # Two images, one lesion each. Falling scores: hit in the first image, false
    # positive in the second; the second lesion is never found.
    curve = froc([[LESION], [NOWHERE]], [[0.9], [0.8]], [[LESION], [OTHER]])
    assert points(curve) == [(0, 1 / 2), (1 / 2, 1 / 2)]
    assert curve.scores.tolist() == [0.9, 0.8]


def test_a_second_box_on_a_lesion_is_neither_hit_nor_false_positive():
    curve = froc([[LESION, LESION, LESION]], [[0.9, 0.8, 0.7]], [[LESION]])
    assert points(curve) == [(0, 1), (0, 1), (0, 1)]


def test_one_box_may_hit_several_lesions():
    # The box overlaps each of two neighboring lesions by half: 200 of 400.
    lesions = [[0, 0, 10, 20], [10, 0, 20, 20]]
    curve = froc([[[0, 0, 20, 20]]], [[0.9]], [lesions])
    assert points(curve) == [(0, 1)]


def test_an_overlap_of_exactly_the_threshold_hits():
    # 20 x 10 of 20 x 20 pixels: 1/2.
    half = [[10, 10, 30, 20]]
    assert froc([half], [[0.9]], [[LESION]]).sensitivity[-1] == 1
    assert froc([half], [[0.9]], [[LESION]], iou_thr=0.51).sensitivity[-1] == 0


def test_images_without_lesions_count():
    # One false positive in three images, two of them without lesions.
    curve = froc([[LESION], [NOWHERE], []], [[0.9], [0.95], []], [[LESION], [], []])
    assert points(curve) == [(1 / 3, 0), (1 / 3, 1)]
    assert curve.num_images == 3


def test_a_box_only_finds_lesions_of_its_own_image():
    curve = froc([[], [LESION]], [[], [0.9]], [[LESION], []])
    assert points(curve) == [(1 / 2, 0)]


def test_boxes_of_equal_score_make_one_point_in_any_order():
    # No threshold shows the hit without the false positive.
    for boxes in ([LESION, NOWHERE], [NOWHERE, LESION]):
        assert points(froc([boxes], [[0.5, 0.5]], [[LESION]])) == [(1, 1)]


def test_the_order_of_images_and_boxes_does_not_matter():
    case = random_case(7, ties=True)
    order = np.random.default_rng(0).permutation(len(case[0]))
    moved = [[part[index][::-1] for index in order] for part in case]
    assert points(froc(*case)) == points(froc(*moved))


def test_reading_between_on_and_beyond_the_points():
    # Points (0, 1/4), (1, 1/4), (1, 2/4), (2, 2/4), (2, 3/4).
    boxes = [[LESION, NOWHERE, OTHER, NOWHERE, [0, 60, 19, 79]]]
    lesions = [[LESION, OTHER, [0, 60, 19, 79], [200, 200, 219, 219]]]
    curve = froc(boxes, [[0.9, 0.8, 0.7, 0.6, 0.5]], lesions)
    assert points(curve) == [(0, 1 / 4), (1, 1 / 4), (1, 1 / 2), (2, 1 / 2), (2, 3 / 4)]
    # On a plateau the highest, beyond the end the last.
    assert curve.sensitivity_at([0, 0.5, 1, 1.5, 2, 16]).tolist() == [
        1 / 4,
        1 / 4,
        1 / 2,
        1 / 2,
        3 / 4,
        3 / 4,
    ]
    assert curve.sensitivity_at(1) == 1 / 2
    assert isinstance(curve.sensitivity_at(1), float)
    # Mean over 0.5, 1, 2 and 4.
    assert curve.mean_sensitivity() == (1 / 4 + 1 / 2 + 3 / 4 + 3 / 4) / 4


def test_between_points_of_ties_the_curve_is_a_straight_line():
    # All four boxes at once: (0, 0) to (2, 1); half of the way at 1.
    curve = froc([[LESION, OTHER, NOWHERE, NOWHERE]], [[0.5] * 4], [[LESION, OTHER]])
    assert points(curve) == [(2, 1)]
    assert curve.sensitivity_at([0, 1, 2]).tolist() == [0, 1 / 2, 1]


def test_legacy_is_interp1d_with_extrapolation():
    interpolate = pytest.importorskip('scipy.interpolate')
    fps = [0, 0.1, 0.25, 0.5, 1, 1.3, 2, 4, 16]
    for seed in range(8):
        curve = froc(*random_case(seed, num_images=4), legacy=True)
        with np.errstate(all='ignore'):
            wanted = interpolate.interp1d(
                curve.fp_per_image, curve.sensitivity, fill_value='extrapolate'
            )(fps)
        np.testing.assert_allclose(curve.sensitivity_at(fps), wanted)


def test_legacy_takes_the_lower_end_of_a_plateau_and_leaves_the_curve():
    boxes, scores = [[LESION, NOWHERE, OTHER]], [[0.9, 0.8, 0.7]]
    # Points (0, 1/2), (1, 1/2), (1, 1): the last step is a hit, so straight up.
    curve = froc(boxes, scores, [[LESION, OTHER]], legacy=True)
    assert curve.sensitivity_at(1) == 1 / 2
    assert curve.sensitivity_at(2) == np.inf
    assert froc(boxes, scores, [[LESION, OTHER]]).sensitivity_at([1, 2]).tolist() == [
        1,
        1,
    ]


def test_legacy_equals_the_default_inside_the_curve():
    case = random_case(3, num_images=9)
    inside = [0.15, 0.4, 0.73]  # of nine images: no point has exactly this many
    np.testing.assert_allclose(
        froc(*case).sensitivity_at(inside),
        froc(*case, legacy=True).sensitivity_at(inside),
    )


def test_without_boxes_nothing_is_found():
    curve = froc([[], []], [[], []], [[LESION], [OTHER]])
    assert points(curve) == []
    assert curve.sensitivity_at([0, 4]).tolist() == [0, 0]
    assert np.isnan(froc([[]], [[]], [[LESION]], legacy=True).sensitivity_at(4))


def test_without_lesions_or_images_the_sensitivity_is_unknown():
    curve = froc([[LESION]], [[0.9]], [[]])
    assert curve.fp_per_image.tolist() == [1]
    assert np.isnan(curve.sensitivity_at([0, 4])).all()
    assert np.isnan(froc([], [], []).mean_sensitivity())


def test_a_subgroup_counts_its_lesions_against_all_boxes():
    # A hit on the lesion outside the group is a false positive, or ignored.
    matches = match_boxes(
        [[OTHER, LESION], [NOWHERE]], [[0.9, 0.8], [0.7]], [[LESION, OTHER], []]
    )
    mask = np.array([True, False])
    assert points(matches.curve(mask)) == [(1 / 2, 0), (1 / 2, 1), (1, 1)]
    assert points(matches.curve(mask, others='ignore')) == [(0, 0), (0, 1), (1 / 2, 1)]
    assert matches.curve(mask).num_lesions == 1
    assert points(matches.curve(np.array([True, True]))) == points(matches.curve())
    with pytest.raises(ValueError, match='mask of 2 booleans'):
        matches.curve(np.array([0, 1]))
    with pytest.raises(ValueError, match="'fp' or 'ignore'"):
        matches.curve(mask, others='both')


def test_pairs_are_compared_in_parts_of_bounded_size(monkeypatch):
    case = random_case(2)
    whole = points(froc(*case))
    monkeypatch.setattr('mmlesion.evaluation.functional.froc_matches.PAIRS_AT_ONCE', 7)
    assert points(froc(*case)) == whole


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('seed', range(4))
def test_vertices_read_like_the_whole_curve(seed, legacy):
    curve = froc(*random_case(seed, num_images=3), legacy=legacy)
    vertices = curve.vertices()
    assert len(vertices.scores) < len(curve.scores)
    fps = np.r_[0:6:0.05, curve.fp_per_image]
    np.testing.assert_allclose(
        vertices.sensitivity_at(fps), curve.sensitivity_at(fps), atol=1e-12
    )


def test_a_curve_goes_through_json():
    for gt_boxes in ([[LESION]], [[]]):  # also with NaN for sensitivities
        curve = froc([[LESION, NOWHERE]], [[0.9, 0.8]], gt_boxes)
        back = FROCCurve.from_dict(
            json.loads(json.dumps(curve.to_dict(), allow_nan=False))
        )
        np.testing.assert_equal(back.to_dict(), curve.to_dict())
    with pytest.raises(ValueError, match="'scores' is missing"):
        FROCCurve.from_dict(dict(fp_per_image=[], sensitivity=[]))


@pytest.mark.parametrize(
    'boxes, scores, lesions, sentence',
    [
        ([[LESION]], [[0.9]], [], 'one entry per image, got 1, 1 and 0'),
        (
            [[], [LESION]],
            [[], [0.9, 0.8]],
            [[], []],
            'Image 1 has 1 pred_boxes but 2 pred_scores',
        ),
        ([[LESION[:3]]], [[0.9]], [[]], r'pred_boxes of image 0 must be \(B, 4\)'),
        ([[LESION]], [[[0.9]]], [[]], r'pred_scores of image 0 must be \(B,\)'),
        (
            [[], [LESION]],
            [[], [float('nan')]],
            [[], []],
            'pred_scores of image 1 must be finite, got nan',
        ),
        (
            [[[0, 0, float('inf'), 1]]],
            [[0.9]],
            [[]],
            'pred_boxes of image 0 must be fin',
        ),
        ([[]], [[]], [[[0, 0, 1, float('nan')]]], 'gt_boxes of image 0 must be finite'),
        ([[]], [[]], [[[9, 0, 1, 5]]], 'gt_boxes of image 0 must have x1 <= x2'),
    ],
)
def test_bad_input_is_named(boxes, scores, lesions, sentence):
    with pytest.raises(ValueError, match=sentence):
        froc(boxes, scores, lesions)


def test_bad_numbers_are_named():
    with pytest.raises(ValueError, match=r'iou_thr must be in \(0, 1\]'):
        froc([], [], [], iou_thr=0)
    with pytest.raises(ValueError, match='numbers >= 0'):
        froc([[]], [[]], [[LESION]]).sensitivity_at([1, -1])
