"""Windowing: hand-worked values, equality with the float64 rule, layout."""

import numpy as np
import pytest

from mmlesion.ct import FULL_WINDOW_HU, window_hu


def test_ends_and_middle_of_the_default_window():
    hu = np.array([-3000, -1024, 0, 3071, 5000], np.int16)
    # 0 HU lies 1024 of 4095 above the lower end
    expected = [0, 0, 255 * 1024 / 4095, 255, 255]
    np.testing.assert_allclose(window_hu(hu), expected, atol=1e-4)


def test_equals_the_authors_float64_rule_for_every_hu():
    hu = np.arange(-32768, 32768).astype(np.int16)
    low, high = FULL_WINDOW_HU
    naive = np.clip((hu.astype(float) - low) / (high - low), 0, 1) * 255
    assert np.abs(window_hu(hu) - naive).max() < 1e-4


def test_another_range_may_fall():
    values = window_hu(np.array([-160.0, 40.0, 240.0]), (-160, 240), (1, -1))
    np.testing.assert_allclose(values, [1, 0, -1], atol=1e-6)


def test_keeps_the_layout_and_writes_in_place():
    planes = np.zeros((3, 4, 5), np.float32)
    image = planes.transpose(1, 2, 0)
    assert window_hu(image).strides == image.strides
    assert window_hu(image, out=image) is image
    assert planes[0, 0, 0] == pytest.approx(255 * 1024 / 4095)


@pytest.mark.parametrize('window', [(5, 5), (5, -5), (0,), 3, (0, np.nan)])
def test_an_empty_window_is_refused(window):
    with pytest.raises(ValueError, match='window must be two'):
        window_hu(np.zeros(3), window)
