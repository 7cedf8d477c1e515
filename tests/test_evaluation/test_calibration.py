"""Calibration, compared with manual values and with scikit-learn."""

import math

import numpy as np
import pytest

from mmlesion.evaluation.functional import (
    apply_temperature,
    binary_areas,
    brier_score,
    calibration_error,
    fit_temperature,
    log_loss,
    operating_points,
    positive_probability,
    reliability,
    youden_threshold,
)

SCORES = [0.1, 0.2, 0.6, 0.9]
LABELS = [0, 1, 0, 1]


def drawn(num=400, seed=0):
    """Labels that are drawn by the probabilities: perfectly calibrated."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.02, 0.98, num)
    return scores, (rng.random(num) < scores).astype(int)


def test_brier_score_and_error_worked_by_hand():
    assert brier_score(SCORES, LABELS) == pytest.approx((0.01 + 0.64 + 0.36 + 0.01) / 4)
    # two bins: (0.1, 0.2) with 1/2 positive, (0.6, 0.9) with 1/2 positive
    bins = reliability(SCORES, LABELS, 2)
    assert bins['count'].tolist() == [2, 2]
    assert bins['mean_score'] == pytest.approx([0.15, 0.75])
    assert bins['share_positive'] == pytest.approx([0.5, 0.5])
    assert calibration_error(SCORES, LABELS, 2) == pytest.approx(0.5 * (0.35 + 0.25))


@pytest.mark.parametrize('num_bins', [5, 10])
def test_as_scikit_learn(num_bins):
    sklearn = pytest.importorskip('sklearn', reason='the peer of calibration')
    del sklearn
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    scores, labels = drawn()
    scores[:3] = 0, 1, 0.2  # borders of bins
    bins = reliability(scores, labels, num_bins)
    seen = bins['count'] > 0
    share, mean = calibration_curve(labels, scores, n_bins=num_bins)
    np.testing.assert_allclose(bins['share_positive'][seen], share)
    np.testing.assert_allclose(bins['mean_score'][seen], mean)
    assert brier_score(scores, labels) == pytest.approx(
        brier_score_loss(labels, scores)
    )


@pytest.mark.parametrize('sharpened', [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_scores_too_sure(sharpened):
    scores, labels = drawn(4000)
    sure = apply_temperature(scores, 1 / sharpened)
    temperature = fit_temperature(sure, labels)
    assert temperature == pytest.approx(sharpened, rel=0.06)
    again = apply_temperature(sure, temperature)
    assert log_loss(again, labels) <= log_loss(sure, labels) + 1e-9
    assert calibration_error(again, labels) < 0.03
    # neither order nor decision changes
    assert binary_areas(again, labels)['auc'] == binary_areas(sure, labels)['auc']
    assert ((again > 0.5) == (sure > 0.5)).all()


def test_a_temperature_worked_by_hand():
    # logit(0.9) = ln 9, halved: ln 3, i.e. 0.75
    assert apply_temperature([0.9, 0.5, 0.1], 2.0) == pytest.approx([0.75, 0.5, 0.25])


@pytest.mark.parametrize('difference', [-30.0, -5.0, 0.0, 5.0, 20.0, 30.0])
def test_probabilities_of_float32_keep_their_log_odds(difference):
    scores = 1 / (1 + np.exp([difference, -difference]))
    found = positive_probability(scores.astype(np.float32))
    assert math.log(found) - math.log1p(-found) == pytest.approx(
        difference, rel=1e-2, abs=1e-6
    )
    halved = apply_temperature([found], 2.0)[0]
    assert halved == pytest.approx(1 / (1 + math.exp(-difference / 2)), rel=1e-2)
    assert positive_probability([0.7, 0.9]) == 0.9  # no complement


def test_the_temperature_of_saturated_scores():
    """Scores of float32 whose logits are 10 times too large."""
    scores, labels = drawn(4000)
    logits = 10 * (np.log(scores) - np.log1p(-scores))
    pairs = (1 / (1 + np.exp([logits, -logits]))).astype(np.float32).T
    assert (pairs[:, 1] == 1).any()
    saved = [positive_probability(pair) for pair in pairs]
    assert fit_temperature(saved, labels) == pytest.approx(10, rel=0.06)


def test_operating_points_worked_by_hand():
    scores = [0.1, 0.3, 0.35, 0.8, 0.9]
    points = operating_points(scores, [0, 0, 1, 0, 1], [1.0], [1.0])
    assert points['sensitivity 1']['threshold'] == 0.35
    assert points['sensitivity 1']['specificity'] == pytest.approx(2 / 3)
    assert points['specificity 1']['threshold'] == 0.9
    assert points['specificity 1']['sensitivity'] == 0.5
    assert points['youden']['threshold'] == 0.35  # 1 + 2/3 above 1/2 + 1
    assert points['0.5']['accuracy'] == pytest.approx(3 / 5)


def test_youden_threshold_worked_by_hand():
    scores, labels = [0.9, 0.8, 0.3, 0.4, 0.35, 0.1], [1, 1, 1, 0, 0, 0]
    # At 0.8: sensitivity 2/3, specificity 1. At 0.3: sensitivity 1, specificity 1/3.
    assert youden_threshold(scores, labels) == 0.8
    scores[3:5] = 0.25, 0.2
    assert youden_threshold(scores, labels) == 0.3
    assert math.isnan(youden_threshold([0.1, 0.2], [0, 0]))


@pytest.mark.parametrize(
    'scores, labels, sentence',
    [
        ([0.1, 0.2], [0, 0], 'both classes'),
        ([0.1, 1.2], [0, 1], 'within 0 and 1'),
        ([0.1, np.nan], [0, 1], 'NaN'),
    ],
)
def test_bad_input(scores, labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        fit_temperature(scores, labels)
