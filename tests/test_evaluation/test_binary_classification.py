"""Binary classification of six manually computed cases, and the metric class."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from mmlesion.evaluation.functional import (
    binary_areas,
    binary_rates,
    f1_threshold,
    log_loss,
    roc_curve,
)
from mmlesion.evaluation.metrics import BinaryClassificationMetric

# Positive at .9, .6, .4 and negative at .6, .3, .1: of the 9 pairs seven and a
# half are in order, as .6 against .6 counts one half, and .4 is below one .6.
SCORES = [0.9, 0.6, 0.4, 0.6, 0.3, 0.1]
LABELS = [1, 1, 1, 0, 0, 0]


def auc(scores, labels):
    return binary_areas(scores, labels)['auc']


def test_auc_counts_pairs_and_a_tie_as_half():
    assert auc(SCORES, LABELS) == pytest.approx(Fraction(15, 18))


def test_auc_is_the_area_under_the_curve():
    curve = roc_curve(SCORES, LABELS)
    assert curve['false_positive_rate'] == pytest.approx([0, 0, 1 / 3, 1 / 3, 2 / 3, 1])
    assert curve['true_positive_rate'] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1, 1])
    assert curve['thresholds'].tolist() == [math.inf, 0.9, 0.6, 0.4, 0.3, 0.1]
    x, y = curve['false_positive_rate'], curve['true_positive_rate']
    area = sum((b - a) * (c + d) / 2 for a, b, c, d in zip(x, x[1:], y, y[1:]))
    assert area == pytest.approx(auc(SCORES, LABELS))


def test_average_precision():
    # a third of the positives at each of precision 1, 2/3 and 3/4
    expected = (1 + Fraction(2, 3) + Fraction(3, 4)) / 3
    assert binary_areas(SCORES, LABELS)['auprc'] == pytest.approx(float(expected))


def test_rates_at_one_half():
    rates = binary_rates(SCORES, LABELS)
    assert rates['sensitivity'] == pytest.approx(Fraction(2, 3))
    assert rates['specificity'] == pytest.approx(Fraction(2, 3))
    assert rates['accuracy'] == pytest.approx(Fraction(4, 6))
    # called positive: .9, .6 and the negative .6
    assert rates['precision'] == pytest.approx(Fraction(2, 3))
    assert rates['f1'] == pytest.approx(Fraction(2, 3))
    # a score at the threshold is not above it
    assert binary_rates([0.5], [1])['sensitivity'] == 0


def test_precision_and_f1_where_they_differ_from_recall():
    # 3 called positive, 2 of them right, of 4 positives: P 2/3, R 1/2, F1 4/7
    rates = binary_rates([0.9, 0.8, 0.7, 0.1, 0.2, 0.3], [1, 1, 0, 1, 1, 0])
    assert rates['precision'] == pytest.approx(Fraction(2, 3))
    assert rates['sensitivity'] == 0.5
    assert rates['f1'] == pytest.approx(Fraction(4, 7))
    nothing = binary_rates([0.1, 0.2], [1, 0])
    assert math.isnan(nothing['precision']) and nothing['f1'] == 0
    assert math.isnan(binary_rates([0.1], [0])['f1'])


def test_log_loss():
    assert log_loss([0.5, 0.25], [1, 0]) == pytest.approx(
        -(math.log(0.5) + math.log(0.75)) / 2
    )
    assert log_loss([0.0], [1]) == pytest.approx(-math.log(1e-7))


@pytest.mark.parametrize(
    'scores, labels, area',
    [([0.1, 0.9], [0, 1], 1), ([0.1, 0.9], [1, 0], 0), ([0.5] * 4, [0, 1, 0, 1], 0.5)],
)
def test_limits(scores, labels, area):
    assert auc(scores, labels) == area


def test_one_class_alone():
    assert math.isnan(auc([0.1, 0.2], [1, 1]))
    assert math.isnan(binary_areas([0.1], [0])['auprc'])
    rates = binary_rates([0.1, 0.9], [1, 1])
    assert rates['sensitivity'] == 0.5 and math.isnan(rates['specificity'])


def test_order_and_monotone_scale_do_not_matter():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 20, 200) / 20, rng.integers(0, 2, 200)
    order = rng.permutation(200)
    assert auc(scores[order], labels[order]) == auc(scores, labels)
    assert auc(scores**3, labels) == auc(scores, labels)
    pairs = scores[labels == 1][:, None] - scores[labels == 0]
    assert auc(scores, labels) == pytest.approx((np.sign(pairs) + 1).mean() / 2)


@pytest.mark.parametrize(
    'scores, labels, sentence',
    [
        ([0.1, 0.2], [1], 'One score and one label'),
        ([0.1, math.nan], [1, 0], '1 of 2 scores are NaN, the first that of case 1'),
        ([0.1, 0.2], [1, 2], 'got 2 for case 1'),
    ],
)
def test_what_cannot_be_is_one_sentence(scores, labels, sentence):
    for function in (binary_rates, roc_curve, binary_areas, log_loss):
        with pytest.raises(ValueError, match=sentence):
            function(scores, labels)
    with pytest.raises(ValueError, match='within 0 and 1'):
        log_loss([2.0], [1])


def samples():
    return [
        dict(
            pred_score=torch.tensor([1 - score, score]),
            gt_label=torch.tensor([label]),
            nodule_id=f'nodule {index}',
        )
        for index, (score, label) in enumerate(zip(SCORES, LABELS))
    ]


def test_metric(tmp_path):
    metric = BinaryClassificationMetric(outfile_prefix=str(tmp_path / 'a' / 'test'))
    for start in (0, 4):  # in two batches
        metric.process({}, samples()[start : start + 4][: 6 - start])
    found = metric.evaluate(6)
    assert found['binary/auc'] == pytest.approx(15 / 18)
    assert found['binary/accuracy'] == pytest.approx(4 / 6)
    assert set(found) == {
        'binary/' + name
        for name in (
            'accuracy',
            'sensitivity',
            'specificity',
            'precision',
            'f1',
            'auc',
            'auprc',
            'nll',
            'brier',
            'ece',
            'youden_threshold',
        )
    }
    cases = json.loads((tmp_path / 'a' / 'test.scores.json').read_text())
    assert [case['case'] for case in cases][5] == 'nodule 5'
    assert [case['label'] for case in cases] == LABELS


def test_metric_of_the_other_class():
    metric = BinaryClassificationMetric(positive=0)
    metric.process({}, samples())
    assert metric.evaluate(6)['binary/auc'] == pytest.approx(15 / 18)


@pytest.mark.parametrize(
    'change, sentence',
    [
        (
            dict(pred_score=torch.tensor([0.1])),
            'nodule 0: expected one label and a score',
        ),
        (dict(pred_score=torch.tensor([0.1, math.nan])), 'nodule 0: the score is nan'),
    ],
)
def test_metric_names_the_case(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        BinaryClassificationMetric().process({}, [{**samples()[0], **change}])
    with pytest.raises(ValueError, match='needs pred_score and gt_label'):
        BinaryClassificationMetric().process({}, [dict(img_path='x')])


def test_threshold_with_the_largest_f1():
    scores, labels = [0.1, 0.2, 0.6, 0.7, 0.9], [0, 1, 0, 1, 1]
    # above 0.65: F1 = 4 / 5; above 0.15: 6 / 7; all positive: 6 / 8
    assert f1_threshold(scores, labels) == pytest.approx(0.15)
    assert f1_threshold([0.3, 0.3], [1, 0]) == 0
    # All cases are positive, also with scores that are not above 0
    for scores_below in ([0.0, 0.2], [-3.0, -1.0]):
        threshold = f1_threshold(scores_below, [1, 1])
        assert binary_rates(scores_below, [1, 1], threshold)['f1'] == 1
    assert np.isnan(f1_threshold([0.3, 0.4], [0, 0]))
    # Above 0.65, one of two positives and no negative is called: F1 = 2 / 3. Above
    # 0.15, both positives and four of five negatives are called: F1 = 4 / 8, and with
    # equally frequent labels 2 / (1 + 1 + 4 / 5) > 2 / 3.
    scores, labels = np.arange(1, 8) / 10, [0, 1, 0, 0, 0, 0, 1]
    assert f1_threshold(scores, labels) == pytest.approx(0.65)
    assert f1_threshold(scores, labels, balanced=True) == pytest.approx(0.15)
    assert np.isnan(f1_threshold([0.3, 0.4], [1, 1], balanced=True))
    with pytest.raises(ValueError, match='Labels must be'):
        f1_threshold([0.3], [2])


def test_metric_at_a_chosen_specificity():
    scores, labels = [0.9, 0.8, 0.3, 0.4, 0.35, 0.1], [1, 1, 1, 0, 0, 0]
    metric = BinaryClassificationMetric(target_specificity=0.6)
    metric.process(
        {},
        [
            dict(pred_score=torch.tensor([1 - score, score]), gt_label=[label])
            for score, label in zip(scores, labels)
        ],
    )
    values = metric.evaluate(6)
    # From 0.4 on, two of three positives are found and one negative is called.
    assert values['binary/threshold_at_specificity'] == pytest.approx(0.4)
    assert values['binary/sensitivity_at_specificity'] == pytest.approx(2 / 3)


def test_metric_at_a_specificity_without_negatives():
    metric = BinaryClassificationMetric(target_specificity=0.9)
    metric.process({}, [dict(pred_score=[0.2, 0.8], gt_label=[1])])
    assert math.isnan(metric.evaluate(1)['binary/threshold_at_specificity'])


def test_a_specificity_out_of_range():
    with pytest.raises(ValueError, match='target_specificity must be within 0 and 1'):
        BinaryClassificationMetric(target_specificity=1.2)
