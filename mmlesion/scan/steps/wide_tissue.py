"""Tissue that is too wide for the box of a finding."""

import numpy as np
from scipy import ndimage

from mmlesion.ct import CTVolume

from ..in_lung import LUNG_HU

#: Radius of the disc, as a multiple of the longest side of the box. A lesion does not
#: contain the disc, even if it exceeds its box by a quarter of this side on each side.
_RADIUS = 0.75


def wide_tissue(volume: CTVolume, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Find mediastinum, chest wall and other wide tissue in a box, slice by slice.

    Wide tissue is the union of all discs that fit into the tissue of a slice and are
    wider than the box: the morphological opening. A lesion inside the box remains
    outside wide tissue, even if it touches it. The border of the opening is moved by a
    pixel, so that steps of the pixel grid are not left over.

    Args:
        volume: The scan in HU.
        first: First voxel of the box, (z, y, x).
        last: Last voxel of the box, exclusive.

    Returns:
        Mask with the shape of the box.
    """
    pixel_mm = np.array(volume.spacing_mm[1:])
    radius_mm = _RADIUS * float(((last - first)[1:] * pixel_mm).max())
    # A disc that reaches into the box needs twice its radius around the box.
    margin = np.ceil(2 * radius_mm / pixel_mm).astype(int) + 1
    low = np.maximum(first[1:] - margin, 0)
    high = np.minimum(last[1:] + margin, volume.shape[1:])
    box = tuple(slice(a, b) for a, b in zip(first[1:] - low, last[1:] - low))
    masks = []
    for plane in volume.array[first[0] : last[0], low[0] : high[0], low[1] : high[1]]:
        depth = _distance_mm(plane < LUNG_HU, pixel_mm)
        beyond = _distance_mm(depth > radius_mm, pixel_mm)
        masks.append((beyond <= radius_mm + pixel_mm.max())[box])
    return np.stack(masks)


def _distance_mm(mask: np.ndarray, pixel_mm: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel to the mask, infinite if it is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=pixel_mm))
