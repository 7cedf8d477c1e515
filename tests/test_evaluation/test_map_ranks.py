"""Rank accuracy, the band around the outline, sparseness, paired intervals."""

import numpy as np
import pytest

from mmlesion.evaluation.functional import (
    band_auprc,
    band_gain,
    energy_inside,
    paired_bootstrap,
    pointing_game,
    rank_correlation,
    rank_pixels,
    relevance_rank_accuracy,
    sparseness,
)


@pytest.mark.parametrize(
    'measure',
    [
        rank_pixels,
        pointing_game,
        energy_inside,
        relevance_rank_accuracy,
        band_auprc,
        band_gain,
    ],
)
def test_a_map_and_a_mask_that_do_not_fit(measure):
    activation, mask = np.ones((4, 4)), np.eye(4)
    measure(activation, mask)
    with pytest.raises(ValueError, match=r'map has shape \(4, 4\) and the mask \(3,'):
        measure(activation, mask[:3])
    with pytest.raises(ValueError, match='the mask has values that are not finite'):
        measure(activation, np.where(mask, np.nan, 0))
    with pytest.raises(ValueError, match='the map has values that are not finite'):
        measure(np.where(mask, np.inf, 0), mask)


def test_rank_accuracy_worked_by_hand():
    """Three pixels of the mask; of the three highest, two lie on it."""
    mask = np.array([[1, 1, 1, 0, 0, 0]], bool)
    assert relevance_rank_accuracy([[9, 1, 8, 7, 0, 0]], mask) == 2 / 3
    # 9 is in; two more of four equal pixels, of which two are in: 1 + 2 * 2/4
    assert relevance_rank_accuracy([[9, 5, 5, 5, 5, 0]], mask) == pytest.approx(2 / 3)
    assert relevance_rank_accuracy(np.ones((1, 6)), mask) == 0.5  # the prevalence
    assert np.isnan(relevance_rank_accuracy(np.ones((1, 6)), mask & False))


def test_the_band_worked_by_hand():
    """A line of 9, the lesion in 3..5, a band of one pixel: 2, 3, 5 and 6 count."""
    mask = np.zeros((1, 9), bool)
    mask[0, 3:6] = True
    values = np.array([[9, 9, 1, 4, 9, 2, 3, 9, 9]])
    # inside 4, 2 and outside 1, 3: precision 1 at 4, 2/3 at 2
    auprc, prevalence = band_auprc(values, mask, 1)
    assert auprc == pytest.approx((1 + 2 / 3) / 2) and prevalence == 0.5
    whole = rank_pixels(values, mask)
    assert band_auprc(values, mask, 100) == (whole.auprc, whole.prevalence)


def test_the_band_asks_for_the_outline_and_not_for_the_place():
    rows, columns = np.mgrid[:32, :32]
    distance = np.hypot(rows - 15.5, (columns - 15.5) / 2)  # an ellipse
    mask = distance < 7
    center = -np.hypot(rows - 15.5, columns - 15.5)
    assert rank_pixels(center, mask).auprc > 0.85
    assert band_auprc(center, mask, 2)[0] < 0.8
    assert band_auprc(-distance, mask, 2)[0] == 1
    for flipped in (np.flipud, np.fliplr):
        assert band_auprc(flipped(center), flipped(mask), 2) == pytest.approx(
            band_auprc(center, mask, 2)
        )


def test_a_mask_without_an_outline_has_no_band():
    for mask in (np.zeros((4, 4), bool), np.ones((4, 4), bool)):
        assert np.isnan(band_auprc(np.ones((4, 4)), mask)).all()
    with pytest.raises(ValueError, match='width_px must be positive, got 0'):
        band_auprc(np.ones((4, 4)), np.eye(4, dtype=bool), 0)


def test_gain_of_the_band_worked_by_hand():
    """A lesion of 2 x 2 pixels, whose band of 1 px has 4 + 8 pixels."""
    mask = np.zeros((6, 6), bool)
    mask[2:4, 2:4] = True
    assert band_gain(np.ones((6, 6)), mask, 1) == 1
    edge = np.zeros((6, 6))
    edge[1, 2] = 3
    assert band_gain(edge, mask, 1) == pytest.approx(36 / 12)
    edge[0, 0] = 3
    edge[5, 5] = -9  # negative evidence is omitted
    assert band_gain(edge, mask, 1) == pytest.approx(36 / 12 / 2)
    assert np.isnan(band_gain(-edge * (edge > 0), mask))
    assert np.isnan(band_gain(edge, mask & False))


def test_rank_correlation_worked_by_hand():
    """Ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4: 4.5 / sqrt(4.5 * 5)."""
    found = rank_correlation([1, 2, 2, 9], [0, 6, 5, 7], ['a', 'b', 'b', 'c'])
    assert found.rho == pytest.approx(0.9**0.5)
    assert (found.num_cases, found.num_groups) == (4, 3)
    assert found.low <= found.rho <= found.high
    stats = pytest.importorskip('scipy.stats')
    first, second = np.random.default_rng(0).integers(0, 9, (2, 60))
    found = rank_correlation(first, second, np.arange(60))
    assert found.rho == pytest.approx(stats.spearmanr(first, second).statistic)
    # About 1 / sqrt(N - 1) is the deviation without a correlation
    assert found.high - found.low == pytest.approx(3.92 / 59**0.5, rel=0.2)
    assert np.isnan(rank_correlation([1, 1], [1, 2], [0, 1]).rho)
    assert rank_correlation([1, np.nan, 3], [1, 2, 3], ['a', 'b', 'c']).num_cases == 2
    with pytest.raises(ValueError, match='two values and a group'):
        rank_correlation([1, 2], [1, 2], ['a'])


def test_sparseness_worked_by_hand():
    assert sparseness([3, 3, -3, 3]) == 0
    assert sparseness([0, 0, 0, 5]) == 3 / 4
    # (1, 3): the sum of (2i - 3) x is -1 + 3 = 2, over 2 * 4
    assert sparseness([1, 3]) == 2 / 8
    assert np.isnan(sparseness([0, 0])) and np.isnan(sparseness([]))


def test_equal_to_quantus():
    quantus = pytest.importorskip('quantus', reason='Quantus is not installed')
    rng = np.random.default_rng(0)
    mask = np.zeros((1, 1, 8, 8), bool)
    mask[..., 2:5, 3:7] = True
    maps = rng.random((1, 1, 8, 8))
    plain = dict(abs=False, normalise=False, disable_warnings=True)
    (found,) = quantus.RelevanceRankAccuracy(**plain).evaluate_batch(
        a_batch=maps, s_batch=mask
    )
    assert relevance_rank_accuracy(maps, mask) == pytest.approx(float(found))
    (found,) = quantus.Sparseness(**plain).evaluate_batch(
        x_batch=maps,
        a_batch=maps.copy(),  # it is changed in place
    )
    assert sparseness(maps) == pytest.approx(float(found))
    for each in (maps, np.where(mask, maps, -1)):
        (found,) = quantus.PointingGame(**plain).evaluate_batch(
            a_batch=each, s_batch=mask
        )
        assert pointing_game(each, mask) == bool(found)


def test_a_difference_by_patients_worked_by_hand():
    """Two patients: one of differences 1, 1, one of 0; resamples are 0, 2/3 or 1."""
    found = paired_bootstrap([3, 3, 1], [2, 2, 1], ['b', 'b', 'a'], num_resamples=999)
    assert found.difference == pytest.approx(2 / 3)
    assert (found.low, found.high) == (0, 1)
    assert (found.num_cases, found.num_groups) == (3, 2)


def test_the_interval_shrinks_with_the_patients_and_not_with_their_cases():
    rng = np.random.default_rng(0)
    values = rng.normal(0.5, 1, 200)
    zero = np.zeros(200)
    wide = paired_bootstrap(values, zero, np.arange(200))
    assert wide.high - wide.low == pytest.approx(4 * values.std() / 200**0.5, rel=0.1)
    repeated = paired_bootstrap(
        np.tile(values, 5), np.tile(zero, 5), np.tile(np.arange(200), 5)
    )
    assert repeated.high - repeated.low == pytest.approx(wide.high - wide.low)


def test_cases_without_a_value_are_left_out():
    found = paired_bootstrap([1, np.nan, 3], [0, 0, np.nan], ['a', 'b', 'c'])
    assert found.difference == 1 and found.num_cases == 1 and np.isnan(found.low)
    nothing = paired_bootstrap([np.nan], [0], ['a'])
    assert np.isnan(nothing.difference) and nothing.num_cases == 0
    with pytest.raises(ValueError, match='one value of both methods and a group'):
        paired_bootstrap([1, 2], [1, 2], ['a'])
    with pytest.raises(ValueError, match='confidence must be within 0 and 1'):
        paired_bootstrap([1], [1], ['a'], confidence=95)
    with pytest.raises(ValueError, match='num_resamples must be at least 1, got 0'):
        paired_bootstrap([1, 2], [1, 1], ['a', 'b'], num_resamples=0)
