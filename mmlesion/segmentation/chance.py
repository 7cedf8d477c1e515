"""Segmentations without a network, as a baseline."""

import zlib

import numpy as np
from scipy import ndimage

from .candidates import nodule_candidates


def chance_masks(
    image: np.ndarray, means: np.ndarray, smoothness: float, radius_px: float
) -> dict[str, np.ndarray]:
    """Segment a slice without looking for the nodule.

    - ``middle_disc``: candidate nearest to the middle of the slice, of those inside a
      disc in the middle;
    - ``random_disc``: the same for a disc at a random place, which depends on the
      pixels of the slice alone;
    - ``whole_image``: all candidates of the slice.

    A method that localizes nodules must be better than all of them. If nodules lie
    near the middle of the slices, ``middle_disc`` can be hard to beat.

    Args:
        image: HU.
        means: See :func:`nodule_candidates`.
        smoothness: See :func:`nodule_candidates`.
        radius_px: Radius of the discs.

    Returns:
        Mask of each segmentation.

    Shape:
        - image: (H, W)
        - output: (H, W) bool
    """
    height, width = image.shape
    seed = zlib.crc32(np.ascontiguousarray(image, np.float32).tobytes())
    rng = np.random.default_rng(seed)
    centers = dict(
        middle_disc=((height - 1) / 2, (width - 1) / 2),
        random_disc=(rng.uniform(0, height - 1), rng.uniform(0, width - 1)),
    )
    masks = {}
    rows, columns = np.ogrid[:height, :width]
    for name, (row, column) in centers.items():
        distance = np.hypot(rows - row, columns - column)
        candidates = nodule_candidates(image, distance <= radius_px, means, smoothness)
        masks[name] = candidates == _nearest(candidates, distance)
    everywhere = np.ones(image.shape, bool)
    masks['whole_image'] = nodule_candidates(image, everywhere, means, smoothness) > 0
    return masks


def _nearest(candidates: np.ndarray, distance: np.ndarray) -> int:
    """Return the number of the nearest candidate, -1 without a candidate."""
    count = int(candidates.max())
    if not count:
        return -1
    least = ndimage.minimum(distance, candidates, range(1, count + 1))
    return 1 + int(np.argmin(least))
