from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import watershed


class Blob(NamedTuple):
    """A blob of an activation map.

    Attributes:
        mask: Its pixels, (H, W) bool.
        peak: Row and column of its highest pixel.
        height: How far the peak is above the map's median.
    """

    mask: np.ndarray
    peak: tuple[int, int]
    height: float


def prominent_blobs(
    activation_map: np.ndarray, prominence: float = 0.25, level: float = 0.5
) -> list[Blob]:
    """Blobs of an activation map, the most prominent first.

    Heights are counted from the map's median, which is that of the background: a
    nodule covers a small part of a slice. A peak is a maximum that rises at least
    ``prominence`` of the highest peak's height above the median and above every
    pass to a higher peak (h-maxima). A watershed from the peaks divides the map; a
    blob is the part of a peak's basin, connected with it, that reaches ``level`` of
    its own height. Blobs are ordered by height.

    Source: Feng et al., arXiv 1707.01086, Sec. 2.2 ("the most prominent blob in the
    NAM processed via watershed"). What prominent means, and both numbers, are ours.

    Args:
        activation_map: (H, W), at the size of the image.
        prominence: Share of the highest peak's height, in (0, 1).
        level: Share of a peak's height, in (0, 1).

    Returns:
        Blobs; none of a map that nowhere rises above its median.

    Raises:
        ValueError: The map is not 2-D or not finite, or a share is not in (0, 1).
    """
    for name, value in (('prominence', prominence), ('level', level)):
        if not 0 < value < 1:
            raise ValueError(f'{name} must be between 0 and 1, got {value}.')
    heights = np.asarray(activation_map, float)
    if heights.ndim != 2 or not heights.size or not np.isfinite(heights).all():
        raise ValueError(
            'expected an activation map (H, W) of finite values, got shape '
            f'{heights.shape}.'
        )
    heights = heights - np.median(heights)
    highest = heights.max()
    if highest <= 0:
        return []
    heights = heights / highest
    peaks = h_maxima(heights, prominence).astype(bool) & (heights >= prominence)
    markers, _ = ndimage.label(peaks, np.ones((3, 3)))
    basins = watershed(-heights, markers, mask=heights > 0)
    blobs = [
        _blob(heights, basins, index, level) for index in range(1, markers.max() + 1)
    ]
    blobs = [blob._replace(height=blob.height * highest) for blob in blobs]
    return sorted(blobs, key=lambda blob: -blob.height)


def scope_within(
    activation_map: np.ndarray,
    outer: np.ndarray,
    prominence: float = 0.25,
    level: float = 0.5,
) -> np.ndarray:
    """The most prominent blob of a finer map inside a scope, else the scope.

    Source: Feng et al., arXiv 1707.01086, Sec. 2.2, "Multi-GAP Segmentation". A
    blob is inside if its peak is; what of it lies outside the scope is left out.

    Args:
        activation_map: (H, W), of the multi-GAP network.
        outer: Scope of the one-GAP network, (H, W) bool.
        prominence: As :func:`prominent_blobs`.
        level: Likewise.

    Returns:
        The scope C, (H, W) bool.

    Raises:
        ValueError: The sizes differ, or as :func:`prominent_blobs`.
    """
    if np.shape(activation_map) != np.shape(outer):
        raise ValueError(
            f'the map has shape {np.shape(activation_map)} and the scope '
            f'{np.shape(outer)}: one size was expected.'
        )
    for blob in prominent_blobs(activation_map, prominence, level):
        if outer[blob.peak]:
            return blob.mask & outer
    return np.array(outer, bool)


def _blob(heights, basins, index, level):
    inside = np.where(basins == index, heights, -np.inf)
    peak = tuple(int(each) for each in np.unravel_index(inside.argmax(), inside.shape))
    parts, _ = ndimage.label(inside >= level * heights[peak], np.ones((3, 3)))
    filled = ndimage.binary_fill_holes(parts == parts[peak])
    return Blob(filled & np.isin(basins, (0, index)), peak, float(heights[peak]))
