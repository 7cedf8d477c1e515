"""Removal of slow variations in an image."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mmlesion.datasets.transforms import SubtractBackground


def test_it_is_the_picture_less_its_blur():
    img = np.random.default_rng(0).normal(100, 20, (40, 30)).astype(np.float32)
    out = SubtractBackground(2.0).transform(dict(img=img))['img']
    assert out.dtype == np.float32
    # OpenCV cuts the Gaussian off a little earlier than this
    blurred = gaussian_filter(img.astype(float), 2.0, mode='nearest', truncate=6)
    assert np.abs(out - (img - blurred)).max() < 0.2


def test_slopes_go_and_spots_stay_channel_by_channel():
    slope = np.repeat(np.linspace(0, 200, 60, dtype=np.float32)[None], 60, axis=0)
    spot = np.zeros((60, 60), np.float32)
    spot[30, 30] = 50
    out = SubtractBackground(3.0).transform(
        dict(img=np.stack([slope, slope + spot], axis=2))
    )['img']
    assert out.shape == (60, 60, 2)
    assert np.abs(out[15:45, 15:45, 0]).max() < 0.01  # away from the border
    # of the spot itself the blur takes 50 / (2 pi 3^2)
    assert out[30, 30, 1] - out[30, 30, 0] == pytest.approx(
        50 * (1 - 1 / 56.5), abs=0.1
    )


def test_one_channel_stays_a_channel():
    out = SubtractBackground(3.0).transform(dict(img=np.ones((9, 9, 1), np.uint8)))
    assert out['img'].shape == (9, 9, 1) and not out['img'].any()


def test_a_width_of_nothing_is_one_sentence():
    with pytest.raises(ValueError, match='sigma_px must be above 0, got 0'):
        SubtractBackground(0)


def test_smoothed_it_is_a_difference_of_gaussians():
    img = np.random.default_rng(0).normal(100, 20, (40, 30)).astype(np.float32)
    out = SubtractBackground(3.0, smooth_px=1.0).transform(dict(img=img))['img']
    narrow, wide = (
        SubtractBackground(sigma).transform(dict(img=img))['img']
        for sigma in (1.0, 3.0)
    )
    np.testing.assert_allclose(out, wide - narrow, atol=1e-4)
    with pytest.raises(ValueError, match='at least 0 and below sigma_px=3'):
        SubtractBackground(3.0, smooth_px=3.0)
