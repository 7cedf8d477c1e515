"""Areas and overlaps from ranked pixels against manual values, loops, scikit-learn."""

from fractions import Fraction

import numpy as np
import pytest

from mmlesion.evaluation.functional import rank_pixels

# Six pixels, falling: lesion, no, lesion, no, no, lesion.
ACTIVATION = np.array([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]])
MASK = np.array([[1, 0, 1], [0, 0, 1]], dtype=bool)


def exact_auprc(activation, mask):
    """By the definition: one threshold after the other, in fractions."""
    total, recall = Fraction(0), Fraction(0)
    for value in sorted(set(activation.ravel().tolist()), reverse=True):
        shown = activation >= value
        hits = int((shown & mask).sum())
        now = Fraction(hits, int(mask.sum()))
        total += (now - recall) * Fraction(hits, int(shown.sum()))
        recall = now
    return total


def exact_auroc(activation, mask):
    """Count pairs of a pixel inside and a pixel outside; ties count one half."""
    pairs = [
        Fraction(1) if a > b else Fraction(1, 2) if a == b else Fraction(0)
        for a in activation[mask].tolist()
        for b in activation[~mask].tolist()
    ]
    return sum(pairs) / len(pairs)


def test_six_pixels_by_hand():
    ranking = rank_pixels(ACTIVATION, MASK)
    # Precision at the three lesion pixels: 1 of 1, 2 of 3, 3 of 6.
    assert ranking.auprc == pytest.approx(
        float((1 + Fraction(2, 3) + Fraction(1, 2)) / 3)
    )
    # Of nine pairs the first wins three, the second two, the third none.
    assert ranking.auroc == pytest.approx(5 / 9)
    assert ranking.prevalence == 1 / 2
    # Dice 2/4, 4/6, 6/9: the second and the third are equal, the first is told.
    assert ranking.best_dice() == (pytest.approx(2 / 3), 0.7)


def test_a_map_without_contrast_is_guessing():
    ranking = rank_pixels(np.full((2, 3), 7.0), np.array([[1, 0, 0], [0, 0, 0]]))
    assert ranking.auprc == ranking.prevalence == 1 / 6
    assert ranking.auroc == 1 / 2
    assert ranking.best_dice() == (pytest.approx(2 / 7), 7.0)


def test_a_perfect_map():
    ranking = rank_pixels(MASK.astype(float), MASK)
    assert (ranking.auprc, ranking.auroc) == (1, 1)
    assert ranking.best_dice() == (1, 1)


def test_without_a_lesion_or_without_anything_else_it_is_nan():
    ranking = rank_pixels(ACTIVATION, np.zeros_like(MASK))
    assert np.isnan([ranking.auprc, ranking.auroc, *ranking.best_dice()]).all()
    assert ranking.prevalence == 0
    ranking = rank_pixels(ACTIVATION, np.ones_like(MASK))
    assert ranking.auprc == 1 and np.isnan(ranking.auroc)
    assert np.isnan(rank_pixels(np.zeros((0, 4)), np.zeros((0, 4))).prevalence)


@pytest.mark.parametrize('decimals', [0, 1, 6])
def test_equals_the_definition_with_and_without_ties(decimals):
    rng = np.random.default_rng(decimals)
    activation = rng.normal(size=(9, 11)).round(decimals)
    mask = rng.random((9, 11)) < 0.2
    ranking = rank_pixels(activation, mask)
    assert ranking.auprc == pytest.approx(float(exact_auprc(activation, mask)))
    assert ranking.auroc == pytest.approx(float(exact_auroc(activation, mask)))
    dice, threshold = ranking.best_dice()
    tried = [
        2
        * ((activation >= value) & mask).sum()
        / ((activation >= value).sum() + mask.sum())
        for value in np.unique(activation)
    ]
    assert dice == pytest.approx(max(tried))
    shown = activation >= threshold
    assert dice == pytest.approx(2 * (shown & mask).sum() / (shown.sum() + mask.sum()))


def test_only_the_order_matters():
    rng = np.random.default_rng(0)
    activation, mask = rng.random((20, 20)), rng.random((20, 20)) < 0.1
    one = rank_pixels(activation, mask)
    other = rank_pixels(np.exp(5 * activation) - 3, mask)
    assert (one.auprc, one.auroc) == (other.auprc, other.auroc)
    flipped = rank_pixels(activation[:, ::-1], mask[:, ::-1])
    assert one.auprc == flipped.auprc


def test_equals_scikit_learn():
    metrics = pytest.importorskip('sklearn.metrics')
    rng = np.random.default_rng(0)
    mask = rng.random(5000) < 0.02
    for activation in (
        rng.normal(size=5000) + mask,
        (rng.normal(size=5000) + mask).round(1),
    ):
        ranking = rank_pixels(activation, mask)
        assert ranking.auprc == pytest.approx(
            metrics.average_precision_score(mask, activation), abs=1e-12
        )
        assert ranking.auroc == pytest.approx(
            metrics.roc_auc_score(mask, activation), abs=1e-12
        )
