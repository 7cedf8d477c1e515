"""Bootstrap of AUC and accuracy over patients of a cross-validation."""

import numpy as np
import pytest

from mmlesion.evaluation.functional import binary_areas, bootstrap_folds


@pytest.fixture
def cases():
    rng = np.random.default_rng(4)
    label = rng.integers(2, size=60)
    score = np.round(np.clip(rng.normal(0.4 + 0.2 * label, 0.2), 0, 1), 1)  # ties
    patient = rng.integers(25, size=60)
    return score, label, patient % 3, patient


def test_row_zero_is_the_mean_of_the_folds(cases):
    score, label, fold, patient = cases
    values = bootstrap_folds(*cases, num_resamples=3)
    here = [fold == number for number in range(3)]
    assert values.shape == (4, 2)
    assert values[0] == pytest.approx(
        (
            np.mean([binary_areas(score[each], label[each])['auc'] for each in here]),
            np.mean([np.mean((score > 0.5)[each] == label[each]) for each in here]),
        )
    )


def test_resamples_repeat_all_cases_of_a_patient(cases):
    score, label, fold, patient = cases
    names = np.unique(patient)
    draws = np.random.default_rng(7).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=5
    )
    values = bootstrap_folds(*cases, num_resamples=5, seed=7)[1:]
    for counts, (auc, accuracy) in zip(draws, values):
        drawn = np.repeat(
            np.arange(60), counts[np.searchsorted(names, patient)].astype(int)
        )
        parts = [drawn[fold[drawn] == number] for number in range(3)]
        assert auc == pytest.approx(
            np.mean([binary_areas(score[each], label[each])['auc'] for each in parts])
        )
        assert accuracy == pytest.approx(
            np.mean([np.mean((score > 0.5)[each] == label[each]) for each in parts])
        )


def test_a_fold_with_one_class_does_not_count_for_the_auc():
    values = bootstrap_folds(
        [0.1, 0.9, 0.8, 0.7], [0, 1, 1, 1], [0, 0, 1, 1], list('abcd'), num_resamples=0
    )
    assert values.tolist() == [[1, 1]]


def test_lengths_that_differ():
    with pytest.raises(ValueError, match='a score, a label, a fold and a group'):
        bootstrap_folds([0.1, 0.2], [0, 1], [0, 0], ['a'])
