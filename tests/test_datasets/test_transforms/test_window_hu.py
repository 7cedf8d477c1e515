"""The transform around mmlesion.ct.window_hu."""

import numpy as np
import pytest

from mmlesion.datasets.transforms import WindowHU


def test_values_and_type():
    image = np.array([-2000, -1024, 3071], np.int16).reshape(1, 1, 3)
    windowed = WindowHU()(dict(img=image))['img']
    assert windowed.dtype == np.float32
    np.testing.assert_allclose(windowed.ravel(), [0, 0, 255], atol=1e-4)
    assert image.ravel().tolist() == [-2000, -1024, 3071]


def test_soft_tissue_window_to_unit_range():
    image = np.array([[[-160.0, 40.0]]], np.float32)
    windowed = WindowHU((-160, 240), (0, 1))(dict(img=image))['img']
    np.testing.assert_allclose(windowed.ravel(), [0, 0.5], atol=1e-6)


def test_a_bad_window_is_refused_at_once():
    with pytest.raises(ValueError, match='window must be two'):
        WindowHU((100, 100))
