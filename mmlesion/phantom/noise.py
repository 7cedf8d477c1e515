"""Image noise with the texture of a reconstruction kernel."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np


def _filtered(white: np.ndarray, fine_px: float, coarse_px: float) -> np.ndarray:
    fine = cv2.GaussianBlur(white, (0, 0), fine_px) if fine_px > 0.2 else white
    # The wide Gaussian runs at reduced resolution, which gives the same result.
    height, width = white.shape
    small = cv2.resize(white, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), coarse_px / 2)
    coarse = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.addWeighted(fine, 1.0, coarse, -0.75, 0)


def correlated_noise(
    shape: tuple[int, int, int],
    sigma_hu: float,
    grain_mm: float,
    spacing_mm: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return noise without low frequencies, as after filtered backprojection.

    White noise is smoothed with a Gaussian of ``grain_mm``. Most of a Gaussian three
    times as wide is then subtracted, which imitates the ramp filter of the
    reconstruction. The result is scaled to the standard deviation.

    Args:
        shape: (D, H, W).
        sigma_hu: Standard deviation of the result in HU.
        grain_mm: Grain size: about 0.45 for a sharp and 0.9 for a smooth kernel.
        spacing_mm: Pixel spacing.
        rng: Random number generator.

    Shape:
        - Output: (D, H, W) float32.
    """
    fine, coarse = grain_mm / spacing_mm, 3 * grain_mm / spacing_mm
    probe = np.zeros((64, 64), np.float32)
    probe[32, 32] = 1
    gain = float(np.sqrt(np.square(_filtered(probe, fine, coarse)).sum()))
    noise = rng.standard_normal(shape, dtype=np.float32)
    for plane in noise:
        plane[...] = _filtered(plane, fine, coarse)
    noise *= np.float32(sigma_hu / gain)
    return noise


def smooth_texture(
    shape: tuple[int, int, int],
    scale_mm: float,
    spacing_mm: Sequence[float],
    rng: np.random.Generator,
) -> Iterator[np.ndarray]:
    """Yield a slowly varying random tissue texture of unit standard deviation.

    Args:
        shape: (D, H, W).
        scale_mm: Length scale of the texture.
        spacing_mm: Slice distance and pixel spacing.
        rng: Random number generator.

    Yields:
        (H, W) float32, slice by slice.
    """
    depth = max(2, int(np.ceil(shape[0] * spacing_mm[0] / scale_mm)) + 1)
    size = [max(3, int(np.ceil(n * spacing_mm[1] / scale_mm)) + 2) for n in shape[1:]]
    coarse = rng.standard_normal((depth, *size), dtype=np.float32)
    for at in np.linspace(0, depth - 1, shape[0]):
        low = min(int(at), depth - 2)
        part = at - low
        # Interpolation between two planes and between spline points reduces the
        # variance.
        gain = 1.35 / np.hypot(part, 1 - part)
        plane = np.float32(gain * (1 - part)) * coarse[low]
        plane += np.float32(gain * part) * coarse[low + 1]
        yield cv2.resize(plane, (shape[2], shape[1]), interpolation=cv2.INTER_CUBIC)


def add_section_noise(
    hu: np.ndarray,
    key: int,
    spacing_mm: Sequence[float],
    probability: float,
    rng: np.random.Generator,
) -> list[int]:
    """Add strong noise to random sections of the neighboring slices, in place.

    The slices on both sides of the key slice are divided into sections of 6 mm (three
    slices at 2 mm). The section of the key slice remains unchanged. Each other section
    is noisy with the given probability. The standard deviation of the noise is drawn
    between 200 and 400 HU for each section, which hides lesions of soft tissue.

    Args:
        hu: (D, H, W) int16.
        key: Index of the key slice in D.
        spacing_mm: Slice distance and pixel spacing.
        probability: Probability that a section is noisy.
        rng: Random number generator.

    Returns:
        Indices of the noisy slices.
    """
    sections = np.rint((np.arange(len(hu)) - key) * spacing_mm[0] / 6).astype(int)
    noisy = []
    for section in np.unique(sections[sections != 0]):
        lot, sigma = rng.random(), rng.uniform(200, 400)
        if lot >= probability:
            continue
        for n in np.flatnonzero(sections == section):
            noise = correlated_noise((1, *hu.shape[1:]), sigma, 0.7, spacing_mm[1], rng)
            hu[n] = np.clip(hu[n] + noise[0], -1024, 3071)
            noisy.append(int(n))
    return noisy
