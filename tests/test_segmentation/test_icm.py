"""Iterated conditional modes: energy, sweep and final state."""

import numpy as np
import pytest

from mmlesion.segmentation import potts_energy, segment_phases

MEANS = (0.0, 100.0, 200.0, 300.0)


def weight(dy, dx):
    return 1 if dy == 0 or dx == 0 else 2**-0.5


def naive_energy(image, labels, means, smoothness):
    """By the definition, pixel by pixel, each pair once."""
    image, total = np.atleast_3d(image).astype(float), 0.0
    means = np.asarray(means, float).reshape(len(means), -1)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            total += ((image[y, x] - means[labels[y, x]]) ** 2).sum()
            for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1)):
                if y + dy < image.shape[0] and 0 <= x + dx < image.shape[1]:
                    total += (
                        smoothness
                        * weight(dy, dx)
                        * (labels[y, x] != labels[y + dy, x + dx])
                    )
    return total


def naive_icm(image, means, smoothness):
    """One pixel after the other, set by set; yields the labels after each sweep."""
    image = image.astype(float)
    height, width = image.shape
    labels = np.array(
        [
            [
                min(range(len(means)), key=lambda k: abs(value - means[k]))
                for value in row
            ]
            for row in image
        ]
    )

    def local(y, x, k):
        energy = (image[y, x] - means[k]) ** 2
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if (dy or dx) and 0 <= y + dy < height and 0 <= x + dx < width:
                    energy += (
                        smoothness * weight(dy, dx) * (labels[y + dy, x + dx] != k)
                    )
        return energy

    before = None
    while not np.array_equal(before, labels):
        before = labels.copy()
        yield before
        for y0 in (0, 1):
            for x0 in (0, 1):
                for y in range(y0, height, 2):
                    for x in range(x0, width, 2):
                        best = min(range(len(means)), key=lambda k: local(y, x, k))
                        if local(y, x, best) < local(y, x, labels[y, x]):
                            labels[y, x] = best


@pytest.mark.parametrize('shape', [(9, 12), (8, 7), (1, 6), (2, 1)])
@pytest.mark.parametrize('smoothness', [0.0, 700.0, 1e5])
def test_sweeps_are_those_of_a_loop_over_pixels(shape, smoothness):
    # Odd thousandths: no two phases are ever equally good
    image = np.random.default_rng(1).integers(0, 300000, shape) / 997
    sweeps = list(naive_icm(image, MEANS, smoothness))
    for count, expected in enumerate(sweeps):
        labels = segment_phases(image, MEANS, smoothness, max_sweeps=count)
        np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(segment_phases(image, MEANS, smoothness), sweeps[-1])


def test_energy_is_that_of_the_definition_and_never_rises():
    rng = np.random.default_rng(2)
    image = rng.uniform(0, 300, (20, 31))
    energies = []
    for sweeps in range(8):
        labels = segment_phases(image, MEANS, 2000.0, max_sweeps=sweeps)
        energies.append(potts_energy(image, labels, MEANS, 2000.0))
        assert energies[-1] == pytest.approx(
            naive_energy(image, labels, MEANS, 2000.0), rel=1e-6
        )
    assert (np.diff(energies) <= 0).all()
    assert energies[-1] < 0.95 * energies[0]


def test_one_pixel_gives_way_at_the_weight_of_its_neighbors():
    image = np.zeros((5, 5))
    image[2, 2] = 60.0
    # As 100 it costs 40^2, as 0 it costs 60^2: 2000 more. Against it are four
    # neighbors across edges and four across corners.
    limit = 2000 / (4 + 4 / 2**0.5)
    assert segment_phases(image, MEANS, limit * 0.99)[2, 2] == 1
    assert segment_phases(image, MEANS, limit * 1.01)[2, 2] == 0


def test_without_smoothness_each_pixel_has_its_nearest_mean():
    image = np.random.default_rng(0).uniform(-50, 350, (8, 9))
    nearest = np.abs(image[..., None] - np.array(MEANS)).argmin(2)
    np.testing.assert_array_equal(segment_phases(image, MEANS, 0), nearest)


def test_channels_are_taken_together():
    rng = np.random.default_rng(0)
    gray = rng.uniform(0, 300, (10, 11))
    once = segment_phases(gray, MEANS, 900.0)
    twice = segment_phases(
        np.stack([gray, gray], 2), np.stack([MEANS, MEANS], 1), 1800.0
    )
    np.testing.assert_array_equal(once, twice)
    # Alike in one channel, apart in the other
    image = np.zeros((4, 6, 2))
    image[:, 3:, 1] = 80
    labels = segment_phases(image, [[0, 0], [0, 80]], 10.0)
    np.testing.assert_array_equal(labels, image[..., 1] > 0)


@pytest.mark.parametrize(
    'image, means, smoothness, words',
    [
        (np.zeros((4, 4)), [[0, 0]], 1.0, r'\(H, W\) with means \(K, \)'),
        (np.zeros((4, 4, 3)), [[0, 0]], 1.0, r'got \(4, 4, 3\) and \(1, 2\)'),
        (np.full((4, 4), np.nan), MEANS, 1.0, 'not finite'),
        (np.zeros((4, 4)), MEANS, -1.0, 'must not be negative'),
    ],
)
def test_bad_input(image, means, smoothness, words):
    with pytest.raises(ValueError, match=words):
        segment_phases(image, means, smoothness)
