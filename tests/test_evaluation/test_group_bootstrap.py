"""Intervals by a bootstrap over groups."""

import numpy as np
import pytest

from mmlesion.evaluation.functional import group_bootstrap


def test_two_groups_have_three_possible_means():
    values = np.array([0.0, 0.0, 6.0])  # group a: 0, 0; group b: 6
    seen = set()

    def mean(cases):
        seen.add(float(values[cases].mean()))
        return values[cases].mean()

    low, high = group_bootstrap(mean, ['a', 'a', 'b'], num_resamples=200)
    # both groups a, a and b, or both groups b
    assert seen == {0.0, 2.0, 6.0}
    assert (low, high) == (0, 6)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    generator = np.random.default_rng(1)
    values = np.repeat(generator.normal(size=400), 3)  # three equal cases of a patient
    patients = np.repeat(np.arange(400), 3)
    low, high = group_bootstrap(
        lambda cases: values[cases].mean(), patients, num_resamples=2000
    )
    error = values[::3].std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_several_statistics_and_undefined_resamples():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    low, high = group_bootstrap(
        lambda cases: [
            values[cases].mean(),
            np.nan,
            np.nan if 0 in cases else values[cases].mean(),
        ],
        [0, 1, 2, 3],
        num_resamples=300,
    )
    assert low.shape == high.shape == (3,)
    assert low[0] < values.mean() < high[0]
    assert np.isnan(low[1]) and np.isnan(high[1])
    assert low[2] >= 2


def test_one_group_has_no_interval():
    low, high = group_bootstrap(lambda cases: [1.0, 2.0], ['a', 'a'])
    assert np.isnan(low).all() and np.isnan(high).all() and low.shape == (2,)


def test_the_seed_determines_the_draws():
    values, groups = np.arange(9.0), np.arange(9) // 2
    one, again, other = (
        group_bootstrap(lambda c: values[c].mean(), groups, num_resamples=20, seed=seed)
        for seed in (0, 0, 1)
    )
    assert one == again and one != other


@pytest.mark.parametrize(
    'groups, options, message',
    [
        ([], {}, 'at least one case'),
        ([1, 2], dict(confidence=1.0), 'confidence must be within'),
    ],
)
def test_errors(groups, options, message):
    with pytest.raises(ValueError, match=message):
        group_bootstrap(lambda cases: 0.0, groups, **options)
