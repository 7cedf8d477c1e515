"""Prominent blobs of activation maps."""

from typing import NamedTuple, cast

import numpy as np
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import watershed


class Blob(NamedTuple):
    """A blob of an activation map.

    Attributes:
        mask: Pixels of the blob, (H, W) bool.
        peak: Row and column of the highest pixel.
        height: Height of the peak above the median of the map.
    """

    mask: np.ndarray
    peak: tuple[int, int]
    height: float


def prominent_blobs(
    activation_map: np.ndarray, prominence: float = 0.25, level: float = 0.5
) -> list[Blob]:
    """Find the blobs of an activation map, the most prominent first.

    Heights are measured from the median of the map, which is that of the background,
    because a nodule covers a small part of a slice. A peak is a maximum that exceeds
    both the median and every saddle on the way to a higher peak by at least
    ``prominence`` times the height of the highest peak (h-maxima). A watershed from the
    peaks divides the map into basins. A blob is the part of a basin that is connected
    to the peak and has at least ``level`` times its height. Blobs are sorted by height.

    Source: Feng et al., arXiv 1707.01086, Sec. 2.2 ("the most prominent blob in the
    NAM processed via watershed"). The paper does not define "prominent" and states
    neither number.

    Args:
        activation_map: (H, W), at the size of the image.
        prominence: Fraction of the height of the highest peak, in (0, 1).
        level: Fraction of the height of a peak, in (0, 1).

    Returns:
        Blobs. The list is empty if the map does not exceed its median anywhere.

    Raises:
        ValueError: If the map is not 2-D or not finite, or a fraction is not in (0, 1).
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
    markers, _ = _connected(peaks)
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
    """Find the most prominent blob of a finer map inside a scope.

    A blob is inside if its peak is inside; its part outside the scope is cut off.

    Source: Feng et al., arXiv 1707.01086, Sec. 2.2, "Multi-GAP Segmentation".

    Args:
        activation_map: Map of the multi-GAP network, (H, W).
        outer: Scope of the one-GAP network, (H, W) bool.
        prominence: See :func:`prominent_blobs`.
        level: See :func:`prominent_blobs`.

    Returns:
        The scope C, (H, W) bool; ``outer`` if no blob is inside.

    Raises:
        ValueError: If the sizes differ, or as :func:`prominent_blobs`.
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


def _blob(heights: np.ndarray, basins: np.ndarray, index: int, level: float) -> Blob:
    inside = np.where(basins == index, heights, -np.inf)
    row, column = np.unravel_index(inside.argmax(), inside.shape)
    peak = int(row), int(column)
    parts, _ = _connected(inside >= level * heights[peak])
    filled = np.asarray(ndimage.binary_fill_holes(parts == parts[peak]))
    return Blob(filled & np.isin(basins, (0, index)), peak, float(heights[peak]))


def _connected(mask: np.ndarray) -> tuple[np.ndarray, int]:
    return cast(tuple[np.ndarray, int], ndimage.label(mask, np.ones((3, 3))))
