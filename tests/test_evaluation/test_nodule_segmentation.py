"""Measures of nodules in slices, compared with manual counts."""

import math

import numpy as np
import pytest

from mmlesion.evaluation.functional import (
    nodule_segmentation_intervals,
    nodule_segmentation_table,
    score_slice,
    scores_by_size,
)

SPACING_MM = (0.5, 2.0)  # a pixel has 1 mm2


def plane(*boxes):
    """Boxes (y0, x0, y1, x1), numbered from 1, in a slice of 12 x 10."""
    out = np.zeros((12, 10), np.uint8)
    for number, (y0, x0, y1, x1) in enumerate(boxes, 1):
        out[y0:y1, x0:x1] = number
    return out


NODULE = plane((2, 2, 6, 6))  # 16 pixels


def test_a_nodule_found_in_part():
    """12 of 16 pixels, and 8 beside it: Dice 2 * 12 / (20 + 16)."""
    predicted = plane((2, 2, 6, 5)) | 2 * plane((8, 2, 10, 6))
    score = score_slice(predicted, NODULE, SPACING_MM)
    assert (score.num_nodules, score.num_found, score.called) == (1, 1, True)
    assert score.dice == pytest.approx(24 / 36)
    assert (score.area_mm2, score.predicted_area_mm2, score.doa_mm2) == (16, 20, 4)
    assert score.diameter_mm == pytest.approx(2 * math.sqrt(16 / math.pi))


def test_areas_are_in_square_millimetres():
    score = score_slice(NODULE > 0, NODULE, (0.5, 0.25))
    assert score.area_mm2 == score.predicted_area_mm2 == 2
    assert score.dice == 1 and score.doa_mm2 == 0


@pytest.mark.parametrize(
    'predicted, nodules, found, called, dice',
    [
        (plane(), NODULE, 0, False, 0),  # nothing segmented: Dice 0
        (plane((8, 2, 9, 3)), NODULE, 0, True, 0),  # beside the nodule
        (plane((0, 0, 3, 3)), NODULE, 1, True, 2 / 25),  # one pixel suffices
        (plane(), plane(), 0, False, math.nan),
        (plane((0, 0, 1, 1)), plane(), 0, True, math.nan),
        (plane((0, 0, 3, 3)), plane((0, 0, 2, 2), (8, 8, 9, 9)), 1, True, 8 / 14),
        (plane((0, 0, 12, 10)), plane((0, 0, 2, 2), (8, 8, 9, 9)), 2, True, 10 / 125),
    ],
)
def test_each_kind_of_slice(predicted, nodules, found, called, dice):
    score = score_slice(predicted, nodules, SPACING_MM)
    assert (score.num_found, score.called) == (found, called)
    assert score.dice == pytest.approx(dice, nan_ok=True)


def test_the_table_by_hand():
    """Three slices with a nodule: hit with Dice 1/2, missed, nothing; two without."""
    half = plane((2, 2, 6, 6), (6, 2, 10, 6), (10, 2, 12, 10))  # 16 + 16 + 16
    pairs = [
        (half, NODULE),
        (plane((8, 8, 9, 9)), NODULE),
        (plane(), NODULE),
        (plane(), plane()),
        (NODULE, plane()),
        (plane(), plane()),
        # two nodules: both found, one, none; three nodules are left out
        (half, plane((2, 2, 3, 3), (7, 3, 8, 4))),
        (NODULE, plane((2, 2, 3, 3), (7, 3, 8, 4))),
        (plane(), plane((2, 2, 3, 3), (7, 3, 8, 4))),
        (half, plane((2, 2, 3, 3), (4, 4, 5, 5), (7, 3, 8, 4))),
    ]
    table = nodule_segmentation_table(score_slice(*pair, SPACING_MM) for pair in pairs)
    assert table == pytest.approx(
        dict(
            tpr=1 / 3,
            fpr=1 / 3,
            fpr_nodule=1 / 3,
            dice_mean=1 / 6,
            dice_std=math.sqrt(1 / 12 - 1 / 36),
            tp_dice_mean=1 / 2,
            tp_dice_std=0,
            tp_doa_mean=32,
            tp_doa_std=0,
            peak_in=math.nan,
            peak_mm_median=math.nan,
            false_nodules=1 / 3,  # 2 in 6 slices
            two_both=1,
            two_one=1,
            num_two=3,
            num_nodule=3,
            num_empty=3,
        ),
        nan_ok=True,
    )


def test_hits_misses_and_silence_are_all_slices():
    rng = np.random.default_rng(0)
    scores = [
        score_slice(
            rng.random((12, 10)) < rng.choice((0, 0.02, 0.3)), NODULE, SPACING_MM
        )
        for _ in range(200)
    ]
    table = nodule_segmentation_table(scores)
    silent = sum(not score.called for score in scores) / 200
    assert table['tpr'] + table['fpr_nodule'] + silent == pytest.approx(1)
    # Misses have Dice 0, so all slices' mean is that of the hits times their share
    assert table['dice_mean'] == pytest.approx(table['tpr'] * table['tp_dice_mean'])


def test_nothing_to_count_is_nan():
    table = nodule_segmentation_table([])
    assert math.isnan(table['tpr']) and math.isnan(table['tp_dice_mean'])
    assert table['num_nodule'] == table['num_two'] == 0


def test_by_size():
    small, large = plane((0, 0, 2, 2)), plane((0, 0, 6, 6))  # 2.26 and 6.77 mm
    scores = [
        score_slice(small, small, SPACING_MM),
        score_slice(large, small, SPACING_MM),  # 8 / 40, 32 mm2 too many
        score_slice(large, large, SPACING_MM),
        score_slice(small, plane((8, 8, 9, 9)), SPACING_MM),
    ]  # missed
    rows = scores_by_size(scores, (0, 3, 5, 7))
    assert [row['count'] for row in rows] == [2, 0, 1]
    assert rows[0]['tp_dice_mean'] == pytest.approx(0.6)
    assert rows[0]['tp_dice_std'] == pytest.approx(0.4)
    assert rows[0]['tp_doa_mean'] == 16
    assert math.isnan(rows[1]['tp_dice_mean'])
    assert (rows[2]['low_mm'], rows[2]['high_mm'], rows[2]['tp_dice_mean']) == (5, 7, 1)


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda: score_slice(plane(), NODULE[1:], SPACING_MM), 'expected the same'),
        (lambda: score_slice(plane(), NODULE, (1, 0)), 'two positive numbers'),
        (lambda: score_slice(plane(), NODULE, (1, 1, 1)), 'two positive numbers'),
        (lambda: scores_by_size([], (3,)), 'ascending numbers'),
        (lambda: scores_by_size([], (3, 3)), 'ascending numbers'),
    ],
)
def test_wrong_arguments_are_told(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_each_segmented_nodule_without_contact_is_false():
    regions = [plane((2, 2, 3, 3)), plane((8, 2, 10, 6)), plane((9, 8, 10, 9)), plane()]
    union = np.any(regions, 0)
    assert score_slice(union, NODULE, SPACING_MM).num_false == 0
    assert score_slice(union, NODULE, SPACING_MM, regions=regions).num_false == 2
    assert score_slice(union, plane(), SPACING_MM, regions=regions).num_false == 3


def test_intervals_are_over_patients():
    hit, miss = (
        score_slice(plane(box), NODULE, SPACING_MM)
        for box in ((2, 2, 6, 6), (8, 8, 9, 9))
    )
    empty, false = (
        score_slice(plane(*box), plane(), SPACING_MM) for box in ([], [(0, 0, 1, 1)])
    )
    scores = [hit, hit, miss, miss, empty, false]
    # All slices of a patient are hits or misses: rates of 0 or 1 in a resample.
    found = nodule_segmentation_intervals(scores, list('aabbab'), 200)
    assert (found['tpr_low'], found['tpr_high']) == (0, 1)
    assert (found['fpr_low'], found['fpr_high']) == (0, 1)
    assert (found['tp_dice_mean_low'], found['tp_dice_mean_high']) == (1, 1)
    # With equal patients, there is no deviation.
    found = nodule_segmentation_intervals(scores, list('abab') + ['a', 'a'], 200)
    assert (found['tpr_low'], found['tpr_high']) == (0.5, 0.5)
    assert found == nodule_segmentation_intervals(
        scores, list('abab') + ['a', 'a'], 200
    )
    alone = nodule_segmentation_intervals(scores, ['a'] * 6, 200)
    assert all(math.isnan(value) for value in alone.values())
    assert all(map(math.isnan, nodule_segmentation_intervals([], [], 5).values()))
