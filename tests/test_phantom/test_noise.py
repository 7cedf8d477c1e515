import numpy as np
import pytest

from mmlesion.phantom import correlated_noise, smooth_texture


@pytest.mark.parametrize('grain_mm', [0.5, 0.9])
def test_noise_has_the_wanted_strength(grain_mm):
    rng = np.random.default_rng(0)
    noise = correlated_noise((4, 256, 256), 12.0, grain_mm, 0.7, rng)
    assert noise.std() == pytest.approx(12, rel=0.05)
    assert abs(noise.mean()) < 0.5


def test_noise_is_correlated_between_pixels_and_poor_in_low_frequencies():
    noise = correlated_noise((8, 256, 256), 10.0, 0.8, 0.7, np.random.default_rng(1))
    assert np.mean(noise[:, :, 1:] * noise[:, :, :-1]) / 100 > 0.4
    power = np.mean(np.abs(np.fft.fft2(noise)) ** 2, axis=0)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    low = power[(radius > 0) & (radius < 0.02)].mean()
    middle = power[(radius > 0.1) & (radius < 0.18)].mean()
    high = power[radius > 0.45].mean()
    assert low < 0.25 * middle
    assert high < 0.25 * middle


def test_slices_have_independent_noise():
    noise = correlated_noise((2, 200, 200), 10.0, 0.8, 0.7, np.random.default_rng(2))
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05


def test_texture_is_smooth_of_unit_strength_and_goes_on_between_slices():
    planes = np.stack(
        list(smooth_texture((11, 160, 160), 4.0, (1.0, 0.8), np.random.default_rng(0)))
    )
    assert planes.shape == (11, 160, 160)
    assert planes.std() == pytest.approx(1, abs=0.25)
    neighbors = np.corrcoef(planes[4].ravel(), planes[5].ravel())[0, 1]
    assert neighbors > 0.7
