"""Localization measures of one map and one mask."""

from typing import NamedTuple, cast

import numpy as np
from scipy import ndimage

from .map_and_mask import map_and_mask

# Pixels that touch at a corner are connected.
_NEIGHBORS = np.ones((3, 3), dtype=bool)


class LesionHits(NamedTuple):
    """Lesions of one image and the spots of a map.

    Attributes:
        num_lesions: Connected components of the mask.
        num_hit: Number of lesions with the peak of a spot on them.
        num_spots: Connected components of the map at the threshold.
        num_false: Spots without a peak on a lesion.
    """

    num_lesions: int
    num_hit: int
    num_spots: int
    num_false: int


def pointing_game(
    activation: np.ndarray, mask: np.ndarray, tolerance_px: float = 0
) -> float:
    """Return whether the maximum of the map is on a lesion.

    Source: Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV
    2016, Sec. 5.1, where a hit may miss by 15 pixels. Differs from it in: if several
    pixels have the largest value, the result is the fraction of these pixels that hit.
    The result of a constant map therefore does not depend on the order of its pixels.

    Args:
        activation: Map.
        mask: Mask of the lesions.
        tolerance_px: Maximum Euclidean distance of a hit from the mask, in pixels.

    Shape:
        - activation, mask: (H, W)

    Returns:
        Value in [0, 1], higher is better; NaN without a lesion.

    Raises:
        ValueError: If the shapes differ, or a value is NaN or infinite.
    """
    activation, mask = map_and_mask(activation, mask)
    if not mask.any():
        return np.nan
    return float(_near(mask, tolerance_px)[activation == activation.max()].mean())


def energy_inside(activation: np.ndarray, mask: np.ndarray) -> float:
    """Compute the fraction of the positive part of the map that is on the lesions.

    ``sum_{p in mask} max(a_p, 0) / sum_p max(a_p, 0)``. A constant map has the
    prevalence. Source: Wang et al., Score-CAM, CVPR workshops 2020, Sec. 4.3.
    Differs from it in: negative values count as 0; a mask replaces the box.

    Args:
        activation: Map.
        mask: Mask of the lesions.

    Shape:
        - activation, mask: (H, W)

    Returns:
        Value in [0, 1], higher is better; 0 if no value is positive, NaN without a
        lesion.

    Raises:
        ValueError: If the shapes differ, or a value is NaN or infinite.
    """
    activation, mask = map_and_mask(activation, mask)
    if not mask.any():
        return np.nan
    positive = np.maximum(activation, 0, dtype=np.float64)
    total = positive.sum()
    return float(positive[mask].sum() / total) if total > 0 else 0.0


def lesion_hits(
    activation: np.ndarray, mask: np.ndarray, threshold: float, tolerance_px: float = 0
) -> LesionHits:
    """Count lesions that a peak of the map hits, and spots that hit none.

    Spots are the connected components of the map at the threshold; lesions are those
    of the mask. Pixels that share a corner are connected. A lesion is hit if the
    maximum of a spot is on it or within the tolerance. A large spot that covers a
    lesion does not hit it unless its maximum does.

    Args:
        activation: Map.
        mask: Mask of the lesions.
        threshold: Minimum value of a pixel of a spot.
        tolerance_px: Maximum Euclidean distance of a peak from a lesion, in pixels.

    Shape:
        - activation, mask: (H, W)

    Returns:
        Numbers of lesions, hits, spots and false spots.

    Raises:
        ValueError: If the shapes differ, or a value is NaN or infinite.
    """
    activation, mask = map_and_mask(activation, mask)
    lesions, num_lesions = _labeled(mask)
    spots, num_spots = _labeled(activation >= threshold)
    if num_lesions == 0 or num_spots == 0:
        return LesionHits(num_lesions, 0, num_spots, num_spots)
    highest = np.full(num_spots + 1, np.inf)
    highest[1:] = ndimage.maximum(activation, spots, np.arange(1, num_spots + 1))
    # All pixels of a spot with its largest value are its peak.
    peak = activation == highest[spots]
    true_spots = np.zeros(num_spots + 1, dtype=bool)
    num_hit = 0
    for lesion in range(1, num_lesions + 1):
        found = spots[peak & _near(lesions == lesion, tolerance_px)]
        true_spots[found] = True
        num_hit += bool(len(found))
    return LesionHits(
        num_lesions, num_hit, num_spots, num_spots - int(true_spots.sum())
    )


def _labeled(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the component label of each pixel, and the number of components."""
    return cast(tuple[np.ndarray, int], ndimage.label(mask, _NEIGHBORS))


def _near(mask: np.ndarray, tolerance_px: float) -> np.ndarray:
    """Return the mask dilated by the tolerance."""
    if tolerance_px <= 0:
        return mask
    return cast(np.ndarray, ndimage.distance_transform_edt(~mask)) <= tolerance_px
