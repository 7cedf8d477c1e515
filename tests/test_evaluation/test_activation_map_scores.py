"""Pooled measures and means over images, computed manually for two small images."""

import numpy as np
import pytest

from mmlesion.evaluation.functional import ActivationMapScores, rank_pixels

# Falling: lesion, no, lesion, no.
FIRST = np.array([[0.8, 0.6], [0.4, 0.2]]), np.array([[1, 0], [1, 0]], dtype=bool)
# Lesion last but one; ten times as bright.
SECOND = np.array([[9.0, 7.0], [1.0, 8.0]]), np.array([[0, 1], [0, 0]], dtype=bool)
EMPTY = np.array([[5.0, 0.0], [0.0, 0.0]]), np.zeros((2, 2), dtype=bool)


def scores(*images, **kwargs):
    total = ActivationMapScores(**kwargs)
    for image in images:
        total.update(*image)
    return total


def test_pooled_and_mean_by_hand():
    numbers = scores(FIRST, SECOND, EMPTY, threshold=0.5).compute()
    # First (1 + 2/3) / 2 = 5/6, second 1/3; mean 7/12, deviation 1/4.
    assert numbers['auprc_mean'] == pytest.approx(7 / 12)
    assert numbers['auprc_std'] == pytest.approx(1 / 4)
    # Pooled: 9, 8, [7], 1, [.8], .6, [.4], .2: (1/3 + 2/5 + 3/7) / 3.
    assert numbers['auprc_pooled'] == pytest.approx(
        (1 / 3 + 2 / 5 + 3 / 7) / 3, abs=1e-6
    )
    assert numbers['prevalence_pooled'] == 3 / 8
    assert numbers['prevalence_mean'] == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert numbers['auroc_mean'] == pytest.approx((3 / 4 + 1 / 3) / 2)
    # At least .5: {.8, .6} with one hit of two; all four with one hit of one.
    assert numbers['dice_mean'] == pytest.approx((1 / 2 + 2 / 5) / 2)
    assert numbers['iou_mean'] == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert numbers['dice_pooled'] == pytest.approx(2 * 2 / (6 + 3))
    assert numbers['iou_pooled'] == pytest.approx(2 / 7)
    # Best of all pixels: at least .4, 3 of 7 shown: 6/10. Of each: 4/5 and 2/4.
    assert numbers['dice_best_pooled'] == pytest.approx(6 / 10)
    assert numbers['iou_best_pooled'] == pytest.approx(3 / 7)
    assert numbers['best_threshold'] == pytest.approx(0.4)
    assert numbers['dice_best_mean'] == pytest.approx((4 / 5 + 1 / 2) / 2)
    assert numbers['pointing_game_mean'] == 1 / 2
    assert numbers['energy_inside_mean'] == pytest.approx((1.2 / 2 + 7 / 25) / 2)
    assert (numbers['num_images'], numbers['num_skipped']) == (2, 1)
    # One spot each: the first peaks on its lesion, the second beside.
    assert numbers['hit_rate_pooled'] == 1 / 2
    assert numbers['false_spots_per_image'] == 1 / 2
    assert numbers['num_lesions'] == 2


def test_images_without_a_lesion_count_if_asked():
    numbers = scores(FIRST, EMPTY, with_empty=True).compute()
    assert (numbers['num_images'], numbers['num_skipped']) == (2, 0)
    assert numbers['prevalence_pooled'] == 2 / 8
    # [5], .8*, .6, .4*: (1/2 + 2/4) / 2.
    assert numbers['auprc_pooled'] == pytest.approx(1 / 2)
    assert numbers['auprc_mean'] == pytest.approx(5 / 6)
    assert numbers['false_spots_per_image'] == 1 / 2


def test_normalized_maps_are_comparable():
    numbers = scores(FIRST, SECOND, normalize='image').compute()
    # First to 1*, 2/3, 1/3*, 0; second to 1, 3/4*, 0, 7/8: pooled
    # {1*, 1}, 7/8, 3/4*, 2/3, 1/3*: (1/2 + 2/4 + 3/6) / 3.
    assert numbers['auprc_pooled'] == pytest.approx(1 / 2)
    assert numbers['auprc_mean'] == pytest.approx(7 / 12)
    flat = np.full((2, 2), 3.0), FIRST[1]
    assert scores(flat, normalize='image').compute()['best_threshold'] == 0
    huge = np.float32([[3e38, -3e38], [0, 0]]), FIRST[1]
    assert scores(huge, normalize='image').compute()['best_threshold'] == 0.5


def test_update_tells_the_numbers_of_the_image():
    total = ActivationMapScores()
    numbers = total.update(*FIRST)
    assert numbers['auprc'] == pytest.approx(5 / 6)
    assert numbers['prevalence'] == 1 / 2
    assert total.update(*EMPTY) is None


def test_the_sum_of_two_is_one():
    rng = np.random.default_rng(0)
    images = [
        (rng.normal(size=(40, 50)), rng.random((40, 50)) < 0.02) for _ in range(8)
    ] + [EMPTY]
    whole = scores(*images).compute()
    parts = scores(*images[:3]), scores(*images[3:]), scores()
    total = (parts[0] + parts[1] + parts[2]).compute()
    assert total.keys() == whole.keys()
    for name, value in whole.items():
        exact = name.endswith('_pooled') or name.startswith('num_')
        assert total[name] == pytest.approx(value, abs=0 if exact else 1e-12), name
    pooled = rank_pixels(
        np.concatenate([image.ravel() for image, _ in images[:8]]),
        np.concatenate([mask.ravel() for _, mask in images[:8]]),
    )
    assert whole['auprc_pooled'] == pytest.approx(pooled.auprc, abs=1e-5)


def test_a_flipped_map_with_its_mask_gets_the_same_numbers():
    rng = np.random.default_rng(0)
    activation, mask = rng.normal(size=(40, 50)), rng.random((40, 50)) < 0.02
    one = scores((activation, mask), tolerance_px=2).compute()
    other = scores((activation[::-1, ::-1], mask[::-1, ::-1]), tolerance_px=2)
    for name, value in other.compute().items():
        assert value == pytest.approx(one[name])


def test_nothing_at_all_is_nan():
    numbers = scores().compute()
    assert numbers.pop('num_images') == numbers.pop('num_lesions') == 0
    assert numbers.pop('num_skipped') == 0
    assert np.isnan(list(numbers.values())).all()
    numbers = scores((np.zeros((2, 2)), np.ones((2, 2)))).compute()
    assert np.isnan(numbers['auroc_mean']) and numbers['auprc_mean'] == 1


def test_bad_input_is_told():
    with pytest.raises(ValueError, match=r'shape \(2, 2\) and its mask \(3, 2\)'):
        scores((np.zeros((2, 2)), np.zeros((3, 2))))
    with pytest.raises(ValueError, match=r'\(4,\).*both must be'):
        scores((np.zeros(4), np.zeros(4)))
    with pytest.raises(ValueError, match='NaN or infinite'):
        scores((np.array([[np.nan]]), np.ones((1, 1))))
    with pytest.raises(ValueError, match="'none' or 'image', got 'max'"):
        scores(normalize='max')
    with pytest.raises(ValueError, match='tolerance_px at least 0'):
        scores(tolerance_px=-1)
    with pytest.raises(ValueError, match='same settings'):
        scores() + scores(threshold=0.1)
