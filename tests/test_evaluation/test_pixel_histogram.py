"""Counted pixels against sorted ones; sums over processes."""

import pickle
import tracemalloc

import numpy as np
import pytest

from mmlesion.evaluation.functional import PixelHistogram, rank_pixels

NUM = 400_000
BITS = np.int32
INFINITY = 0x7F800000


def maps():
    """Raw maps of all kinds, each a little higher on the lesion."""
    rng = np.random.default_rng(0)
    mask = rng.random(NUM) < 0.01
    noise = rng.normal(size=NUM)
    return mask, {
        'zero to one': rng.random(NUM) * (1 + 0.5 * mask) / 1.5,
        'rectified': np.maximum(noise - 1 + mask, 0),
        'signed': noise + mask,
        'negative': -np.exp(noise - mask),
        'nearly constant': (1 + 1e-3 * (noise + mask)) / 196,
        'thirty decades': np.exp(8 * noise + 4 * mask),
        'few values': ((noise + mask) * 4).round() / 4,
        'one value': np.full(NUM, 1e-9),
        'nothing': np.zeros(NUM),
        'tiny': 1e-42 * (noise + mask),  # denormal numbers
        'huge': 1e37 * (noise + mask),
    }


def filled(activation, mask, num_images=7, **kwargs):
    histogram = PixelHistogram(**kwargs)
    for part, on in zip(
        np.array_split(activation, num_images), np.array_split(mask, num_images)
    ):
        histogram.update(part, on)
    return histogram


@pytest.mark.parametrize('kind', maps()[1])
def test_within_1e_4_of_sorting(kind):
    mask, activation = maps()[0], maps()[1][kind].astype(np.float32)
    exact = rank_pixels(activation, mask)
    ours = filled(activation, mask).ranking()
    assert ours.auprc == pytest.approx(exact.auprc, abs=2e-5)
    assert ours.auroc == pytest.approx(exact.auroc, abs=2e-5)
    assert (ours.num_inside, ours.num_pixels) == (mask.sum(), NUM)
    dice, threshold = ours.best_dice()
    assert dice == pytest.approx(exact.best_dice()[0], abs=1e-4)
    shown = activation >= threshold
    assert dice == pytest.approx(
        2 * (shown & mask).sum() / (shown.sum() + mask.sum()), abs=1e-6
    )


def test_equals_scikit_learn():
    metrics = pytest.importorskip('sklearn.metrics')
    mask, kinds = maps()
    for activation in (kinds['zero to one'], kinds['signed'], kinds['rectified']):
        activation = activation.astype(np.float32)
        ours = filled(activation, mask).ranking()
        assert ours.auprc == pytest.approx(
            metrics.average_precision_score(mask, activation), abs=1e-4
        )
        assert ours.auroc == pytest.approx(
            metrics.roc_auc_score(mask, activation), abs=1e-4
        )


def test_few_distinct_values_are_exact():
    # As long as the bins suffice, each float32 has its own: ties are ties.
    activation = np.float32([[0.5, 0.25, 0.5], [0, -0.5, 0.25]])
    mask = np.array([[1, 1, 0], [0, 0, 1]], dtype=bool)
    ranking = filled(activation, mask, 1).ranking()
    # Shown 2 with 1 hit, then 4 with 3: 1/3 * 1/2 + 2/3 * 3/4 = 2/3.
    assert ranking.auprc == pytest.approx(2 / 3)
    # Beside are .5, 0, -.5: (1/2 + 1 + 1) + 2 * (0 + 1 + 1) of 9.
    assert ranking.auroc == pytest.approx(6.5 / 9)
    assert ranking.values.tolist() == [0.5, 0.25]


def test_neighboring_numbers_are_told_apart():
    one = np.float32(1)
    after = np.nextafter(one, np.float32(2))
    ranking = filled(np.float32([one, after]), np.array([False, True]), 1).ranking()
    assert ranking.auprc == 1


@pytest.mark.parametrize('kind', ['signed', 'thirty decades', 'rectified'])
def test_the_sum_of_processes_is_the_whole_bit_by_bit(kind):
    mask, activation = maps()[0], maps()[1][kind]
    order = np.argsort(activation)  # one process sees the low half only
    half = NUM // 2
    parts = [
        filled(activation[part], mask[part], 3)
        for part in (order[:half], order[half:], order[:0])
    ]
    whole = filled(activation, mask)
    for total in (parts[0] + parts[1] + parts[2], parts[2] + parts[1] + parts[0]):
        for name in ('values', 'inside', 'beside', 'beside_above'):
            assert np.array_equal(
                getattr(total.ranking(), name), getattr(whole.ranking(), name)
            )
    # What was added stays as it was.
    assert parts[0].ranking().num_pixels == half


def test_order_and_buffer_do_not_matter():
    mask, activation = maps()[0], maps()[1]['signed']
    reference = filled(activation, mask, 2).ranking()
    rng = np.random.default_rng(1).permutation(NUM)
    other = filled(activation[rng], mask[rng], 31, buffer_size=10_007).ranking()
    assert np.array_equal(reference.values, other.values)
    assert np.array_equal(reference.inside, other.inside)
    assert np.array_equal(reference.beside, other.beside)


def test_it_can_be_sent_and_goes_on_after_reading():
    mask, activation = maps()[0], maps()[1]['signed']
    histogram = filled(activation, mask)
    sent = pickle.loads(pickle.dumps(histogram))
    before = sent.ranking().auprc
    assert before == histogram.ranking().auprc
    sent.update(activation, mask)
    assert sent.ranking().num_pixels == 2 * NUM
    assert sent.ranking().auprc == pytest.approx(before)


def test_the_array_given_may_change_afterwards():
    activation, mask = np.float32([1, 2]), np.array([False, True])
    histogram = PixelHistogram()
    histogram.update(activation, mask)
    activation[:], mask[:] = 0, False
    assert histogram.ranking().auprc == 1


def test_memory_does_not_grow_with_the_number_of_maps():
    rng = np.random.default_rng(0)
    # Bits drawn evenly: all exponents, both signs, the worst case.
    bits = rng.integers(1, INFINITY, 50_000, dtype=BITS)
    activation = bits.view(np.float32) * rng.choice([-1, 1], 50_000)
    activation = activation.astype(np.float32)
    mask = rng.random(50_000) < 0.1
    histogram = PixelHistogram(num_bins=2**16, buffer_size=2**16)
    for _ in range(4):
        histogram.update(activation, mask)
    tracemalloc.start()
    for _ in range(40):
        histogram.update(activation, mask)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8e6
    exact = rank_pixels(np.tile(activation, 44), np.tile(mask, 44))
    assert histogram.ranking().auprc == pytest.approx(exact.auprc, abs=1e-3)


def test_half_precision_and_double_are_taken():
    mask = np.array([False, True])
    for dtype in (np.float16, np.float64, np.int64):
        assert filled(np.array([1, 2], dtype), mask, 1).ranking().auprc == 1


def test_bad_input_is_told():
    histogram = PixelHistogram()
    with pytest.raises(ValueError, match=r'shape \(2, 3\) and its mask \(3, 2\)'):
        histogram.update(np.zeros((2, 3)), np.zeros((3, 2)))
    for value in (np.nan, np.inf, -np.inf, 1e39):
        with pytest.raises(ValueError, match='NaN or infinite'):
            histogram.update(np.array([0, value]), np.zeros(2))
    with pytest.raises(ValueError, match='at least 65536, got 1000'):
        PixelHistogram(num_bins=1000)
    with pytest.raises(ValueError, match='65536 and 131072'):
        PixelHistogram(2**16) + PixelHistogram(2**17)
    histogram.update(np.zeros((0, 3)), np.zeros((0, 3)))
    assert np.isnan(histogram.ranking().auprc)
