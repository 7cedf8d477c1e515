"""Several windows as channels: values and order of the channels."""

import numpy as np
import pytest

from mmlesion.datasets.transforms import MixWindowsHU, WindowHU

WINDOWS = [(-1000, 400), (-160, 240)]


def test_each_window_is_that_of_one_alone():
    img = np.random.default_rng(0).uniform(-1200, 800, (4, 5, 3)).astype(np.float32)
    mixed = MixWindowsHU(WINDOWS).transform(dict(img=img.copy()))['img']
    assert mixed.shape == (4, 5, 6) and mixed.dtype == np.float32
    for number, window in enumerate(WINDOWS):
        alone = WindowHU(window).transform(dict(img=img.copy()))['img']
        np.testing.assert_array_equal(mixed[..., 3 * number : 3 * number + 3], alone)


def test_numbers_by_hand():
    img = np.array([[[-160.0, 40.0]]], np.float32)
    mixed = MixWindowsHU(WINDOWS, out_range=(0, 1)).transform(dict(img=img))['img']
    assert mixed[0, 0] == pytest.approx([840 / 1400, 1040 / 1400, 0, 0.5], abs=1e-6)


@pytest.mark.parametrize(
    'windows, sentence',
    [([], 'at least one window'), ([(0, 1), (5, 5)], 'the lower end first')],
)
def test_bad_windows_are_one_sentence(windows, sentence):
    with pytest.raises(ValueError, match=sentence):
        MixWindowsHU(windows)
