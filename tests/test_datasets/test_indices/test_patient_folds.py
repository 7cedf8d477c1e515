"""Folds: disjoint patients, balanced classes, reproducible for a seed."""

import numpy as np
import pytest

from mmlesion.datasets import patient_folds


def draw(num_patients=100, seed=0):
    generator = np.random.default_rng(seed)
    patients = np.repeat(
        np.arange(num_patients), generator.integers(1, 9, num_patients)
    )
    return [f'P{one:03d}' for one in patients], generator.random(len(patients)) < 0.4


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('num_folds', [2, 5, 10])
def test_no_patient_is_in_two_folds_and_classes_are_even(num_folds, seed):
    patients, labels = draw(seed=seed)
    folds = patient_folds(patients, labels, num_folds, seed)
    owners = {}
    for patient, fold in zip(patients, folds):
        owners.setdefault(patient, set()).add(fold)
    assert all(len(one) == 1 for one in owners.values())
    for label in (0, 1):
        counts = np.bincount(folds[labels == label], minlength=num_folds)
        assert counts.max() - counts.min() <= 2


def test_two_patients_each_of_two_classes_are_dealt_one_of_each():
    # Four patients, one sample each: two folds of one 0 and one 1
    folds = patient_folds(list('abcd'), [0, 0, 1, 1], 2)
    assert folds[0] != folds[1] and folds[2] != folds[3]


def test_the_same_seed_gives_the_same_folds_and_another_seed_others():
    patients, labels = draw()
    one = patient_folds(patients, labels, 5, 3)
    np.testing.assert_array_equal(one, patient_folds(patients, labels, 5, 3))
    assert (one != patient_folds(patients, labels, 5, 4)).any()


def test_the_order_of_samples_does_not_matter():
    patients, labels = draw()
    order = np.random.default_rng(1).permutation(len(patients))
    shuffled = patient_folds([patients[i] for i in order], labels[order], 5)
    np.testing.assert_array_equal(shuffled, patient_folds(patients, labels, 5)[order])


@pytest.mark.parametrize(
    'patients, labels, num_folds, sentence',
    [
        (['a', 'b'], [0], 2, 'there are 2 patients for 1 labels'),
        (['a', 'b'], [0, 1], 1, 'num_folds must be at least 2, but is 1'),
        (['a', 'a'], [0, 1], 2, '2 folds need at least as many patients'),
        (list('abcd'), [0, 0, 0, 1], 2, 'of 2 has no sample of class 1'),
    ],
)
def test_what_cannot_be_dealt_is_said(patients, labels, num_folds, sentence):
    with pytest.raises(ValueError, match=sentence):
        patient_folds(patients, labels, num_folds)
