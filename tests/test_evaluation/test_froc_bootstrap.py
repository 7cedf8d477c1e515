import numpy as np
import pytest

from mmlesion.evaluation.functional import (
    bootstrap_froc,
    froc,
    match_boxes,
    percentile_interval,
)

FPS = [0, 0.25, 0.5, 1, 2, 4]


def random_case(seed, num_images=15, ties=False):
    rng = np.random.default_rng(seed)
    pred_boxes, pred_scores, gt_boxes = [], [], []
    for _ in range(num_images):
        corner = rng.integers(0, 60, (rng.integers(0, 3), 2))
        lesions = np.c_[corner, corner + 20]
        corner = rng.integers(0, 60, (rng.integers(0, 5), 2))
        boxes = np.r_[np.c_[corner, corner + 20], lesions + 3]
        scores = rng.random(len(boxes))
        pred_boxes.append(boxes)
        pred_scores.append(np.round(scores, 1) if ties else scores)
        gt_boxes.append(lesions)
    return pred_boxes, pred_scores, gt_boxes


@pytest.mark.parametrize('ties', [False, True])
def test_a_resample_is_the_curve_of_the_repeated_images(ties):
    case = random_case(0, ties=ties)
    patients = np.array(list('aabbbcddeefffgg'))
    samples = bootstrap_froc(
        match_boxes(*case), patients, FPS, num_resamples=30, seed=4
    )
    names = np.unique(patients)
    draws = np.random.default_rng(4).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=30
    )
    for sample, draw in zip(samples, draws):
        images = [
            image
            for name, times in zip(names, draw)
            for _ in range(times)
            for image in np.flatnonzero(patients == name)
        ]
        curve = froc(*([part[image] for image in images] for part in case))
        np.testing.assert_allclose(sample, curve.sensitivity_at(FPS), atol=1e-12)


def test_a_resample_of_a_subgroup_is_its_curve_on_the_repeated_images():
    case = random_case(1)
    matches = match_boxes(*case)
    patients = np.arange(15) // 2
    mask = np.arange(matches.num_lesions) % 3 == 0
    owner = np.split(mask, np.cumsum([len(boxes) for boxes in case[2]])[:-1])
    samples = bootstrap_froc(matches, patients, FPS, mask, 'ignore', num_resamples=20)
    draws = np.random.default_rng(0).multinomial(8, np.full(8, 1 / 8), size=20)
    for sample, draw in zip(samples, draws):
        images = [image for image in range(15) for _ in range(draw[image // 2])]
        repeated = match_boxes(*([part[image] for image in images] for part in case))
        chosen = np.concatenate([owner[image] for image in images])
        curve = repeated.curve(chosen.astype(bool), 'ignore')
        np.testing.assert_allclose(sample, curve.sensitivity_at(FPS), atol=1e-12)


def test_many_sure_false_positives_of_one_patient():
    # The first patient has 400 false positives ahead of all else, more than the
    # share of the list that is looked at first; draws without this patient need
    # the rest of the list.
    lesion = [0, 0, 9, 9]
    boxes = [[[50, 50, 59, 59]] * 400] + [[lesion, [50, 50, 59, 59]]] * 3
    scores = [np.linspace(1, 0.9, 400)] + [[0.5, 0.4]] * 3
    lesions = [[]] + [[lesion]] * 3
    samples = bootstrap_froc(match_boxes(boxes, scores, lesions), range(4), [0.5])
    draws = np.random.default_rng(0).multinomial(4, [1 / 4] * 4, size=1000)
    without = draws[:, 0] == 0
    assert without.any()
    assert (samples[without] == 1).all()
    sick = draws[:, 1:].sum(1) > 0
    assert (samples[~without & sick] == 0).all()
    assert np.isnan(samples[~sick]).all()  # the first patient only: no lesions


def test_seeded_and_independent_of_the_order_of_images():
    case = random_case(2)
    patients = np.arange(15) // 2
    samples = bootstrap_froc(match_boxes(*case), patients, num_resamples=50)
    again = bootstrap_froc(match_boxes(*case), patients, num_resamples=50)
    np.testing.assert_array_equal(samples, again)
    backwards = bootstrap_froc(
        match_boxes(*(part[::-1] for part in case)), patients[::-1], num_resamples=50
    )
    np.testing.assert_array_equal(samples, backwards)
    other = bootstrap_froc(match_boxes(*case), patients, num_resamples=50, seed=1)
    assert not np.array_equal(samples, other)


def test_the_interval_of_a_proportion_is_about_binomial():
    # 400 patients with one lesion each, 300 of them found: 3/4 with a standard
    # error of sqrt(3/4 * 1/4 / 400) = 0.0217.
    lesion = [0, 0, 9, 9]
    found = np.arange(400) % 4 != 0
    matches = match_boxes(
        [[lesion] if hit else [] for hit in found],
        [[0.9] if hit else [] for hit in found],
        [[lesion]] * 400,
    )
    low, high = percentile_interval(bootstrap_froc(matches, range(400), [1]))
    np.testing.assert_allclose(
        [low[0], high[0]], [0.75 - 1.96 * 0.0217, 0.75 + 1.96 * 0.0217], atol=0.01
    )


def test_one_patient_gives_no_interval():
    samples = bootstrap_froc(match_boxes(*random_case(3)), ['one'] * 15)
    assert np.isnan(samples).all()
    assert np.isnan(percentile_interval(samples)).all()


def test_the_interval_leaves_out_unknown_samples():
    samples = np.c_[np.r_[np.arange(101.0), np.nan], np.full(102, np.nan)]
    low, high = percentile_interval(samples, confidence=0.9)
    np.testing.assert_allclose(low, [5, np.nan])
    np.testing.assert_allclose(high, [95, np.nan])


def test_patients_must_match_the_images():
    with pytest.raises(ValueError, match='each of the 15 images'):
        bootstrap_froc(match_boxes(*random_case(0)), [1, 2])
