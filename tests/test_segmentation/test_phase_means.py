"""Means of the phases from the intensities of the whole slice."""

import numpy as np
import pytest

from mmlesion.segmentation import phase_means


def test_means_worked_by_hand():
    # Starts 1.25, 3.75, 6.25, 8.75. The first round puts 0, 1, 2 to the first, 5.5 to
    # the third and 9, 10 to the last; nothing moves after it; the second is empty.
    found = phase_means(np.array([[0, 1, 2], [5.5, 9, 10]]), value_range=(0, 10))
    np.testing.assert_allclose(found, [1, 3.75, 5.5, 9.5])


def test_a_nodule_has_its_phase_however_few_its_pixels():
    rng = np.random.default_rng(0)
    slice_hu = rng.normal(-860, 20, (100, 100))
    slice_hu[:, 60:] = rng.normal(40, 10, (100, 40))
    slice_hu[20:24, 20:24] = -500
    lung, faint, tissue, bone = phase_means(slice_hu)
    assert lung == pytest.approx(-860, abs=2)
    assert faint == -500
    assert tissue == pytest.approx(40, abs=10)
    assert bone > tissue


def test_values_beyond_the_range_count_as_its_ends():
    inside = np.array([-1000.0, -1000, 0, 400, 400])
    beyond = np.array([-3000.0, -1024, 0, 900, 3071])
    np.testing.assert_array_equal(phase_means(inside), phase_means(beyond))


def test_channels():
    pixels = np.array([[0, 0], [0, 2], [9, 10]])
    found = phase_means(pixels, 2, value_range=[(0, 10), (0, 10)])
    np.testing.assert_allclose(found, [[0, 1], [9, 10]])


@pytest.mark.parametrize(
    'kwargs, words',
    [
        (dict(image=np.empty((0, 5))), 'empty or holds'),
        (dict(image=np.array([np.inf])), 'not finite'),
        (dict(image=np.zeros(4), value_range=(5, 5)), 'low < high'),
        (dict(image=np.zeros(4), num_phases=1), '2 or more'),
    ],
)
def test_bad_input(kwargs, words):
    with pytest.raises(ValueError, match=words):
        phase_means(**kwargs)
