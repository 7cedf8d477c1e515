"""Image noise with the texture of a reconstruction kernel."""
import cv2
import numpy as np


def _filtered(white: np.ndarray, fine_px: float, coarse_px: float) -> np.ndarray:
    fine = cv2.GaussianBlur(white, (0, 0), fine_px) if fine_px > 0.2 else white
    return fine - np.float32(0.75) * cv2.GaussianBlur(white, (0, 0), coarse_px)


def correlated_noise(shape, sigma_hu: float, grain_mm: float, spacing_mm: float,
                     rng: np.random.Generator) -> np.ndarray:
    """Noise without its low frequencies, as filtered backprojection leaves it.

    White noise, smoothed with a Gaussian of ``grain_mm`` and with most of a three
    times wider one taken away (the ramp of the reconstruction filter), scaled to the
    wanted standard deviation.

    Args:
        shape: (D, H, W).
        sigma_hu: Standard deviation of the result in HU.
        grain_mm: Grain size: about 0.45 for a sharp and 0.9 for a smooth kernel.
        spacing_mm: Pixel spacing.
        rng: Source of randomness.

    Shape:
        - Output: (D, H, W) float32.
    """
    fine, coarse = grain_mm / spacing_mm, 3 * grain_mm / spacing_mm
    probe = np.zeros((65, 65), np.float32)
    probe[32, 32] = 1
    gain = float(np.sqrt(np.square(_filtered(probe, fine, coarse)).sum()))
    noise = rng.standard_normal(shape, dtype=np.float32)
    for plane in noise:
        plane[...] = _filtered(plane, fine, coarse)
    noise *= np.float32(sigma_hu / gain)
    return noise


def smooth_texture(shape, scale_mm: float, spacing_mm, rng) -> np.ndarray:
    """Slowly varying random texture of unit standard deviation (tissue, not noise).

    Args:
        shape: (D, H, W).
        scale_mm: Distance over which the texture changes.
        spacing_mm: (slice, pixel) distance.
    """
    depth = max(2, int(np.ceil(shape[0] * spacing_mm[0] / scale_mm)) + 1)
    size = [max(3, int(np.ceil(n * spacing_mm[1] / scale_mm)) + 2) for n in shape[1:]]
    coarse = rng.standard_normal((depth, *size), dtype=np.float32)
    planes = np.stack([cv2.resize(p, (shape[2], shape[1]),
                                  interpolation=cv2.INTER_CUBIC) for p in coarse])
    at = np.linspace(0, depth - 1, shape[0])
    low = np.minimum(at.astype(int), depth - 2)
    part = (at - low).astype(np.float32)[:, None, None]
    gain = np.float32(1.35) / np.sqrt(np.square(part) + np.square(1 - part))
    return (planes[low] * (1 - part) + planes[low + 1] * part) * gain
