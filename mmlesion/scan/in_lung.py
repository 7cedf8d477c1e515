"""Check whether a finding is in the lungs."""

import numpy as np

from mmlesion.ct import CTVolume

#: A finding is in the lungs if this fraction of the middle slice of its box is darker
#: than LUNG_HU.
LUNG_SHARE, LUNG_HU = 0.15, -500.0


def in_lung(volume: CTVolume, lower: np.ndarray, upper: np.ndarray) -> bool:
    """Return whether lung surrounds a finding.

    Args:
        volume: The scan in HU.
        lower: Lower corner of the box (z, y, x) in voxel indices of the array.
        upper: Upper corner of the box.

    Shape:
        - lower, upper: (3,).
    """
    first = np.maximum(np.rint(np.asarray(lower) + 0.5), 0).astype(int)
    last = np.minimum(np.rint(np.asarray(upper) + 0.5), volume.shape).astype(int)
    if (last <= first).any():
        return False
    (z0, y0, x0), (z1, y1, x1) = first, last
    plane = volume.array[z0 + (z1 - z0) // 2, y0:y1, x0:x1]
    return bool((plane < LUNG_HU).mean() >= LUNG_SHARE)
