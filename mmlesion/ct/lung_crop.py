"""Crops of slices around the lungs."""

from collections.abc import Sequence

import cv2
import numpy as np

from .lung_mask import lung_mask
from .volume import CTVolume

_LUNG_GRID_MM = 3.0  # fine enough to find the center of a lung mask


def place_crop(
    volume: CTVolume,
    size: int,
    lung: np.ndarray | None = None,
    always_check: bool = False,
) -> tuple[tuple[int, int], Sequence[int]]:
    """Place a crop around the center of the bounding box of the lungs.

    Without ``lung``, the lung mask is computed on a grid of about 3 mm, which needs
    less time and memory and is sufficiently accurate.

    Args:
        volume: The series.
        size: Side of the crop in pixels.
        lung: Lung mask on the voxels of the series, (D, H, W). Computed by default.
        always_check: Whether the lung mask is also computed if the whole image is
            inside the crop, so that a series without lungs raises an error.

    Returns:
        First row and column of the crop, and the slices that contain lung. The crop
        is inside the image if the image is larger than the crop, and otherwise
        contains the image (negative corner). If the whole image is inside the crop, no
        mask is given and ``always_check`` is False, all slices are returned.

    Raises:
        ValueError: If no lungs are found; see :func:`mmlesion.ct.lung_mask`.
    """
    depth, *sides = volume.shape
    step_z = 1
    if lung is None:
        if max(sides) <= size and not always_check:
            corner = (sides[0] - size) // 2, (sides[1] - size) // 2
            return corner, range(depth)
        lung, step_z = _coarse_lung_mask(volume)
    corner = []
    for axis, side in enumerate(sides, 1):
        places = np.flatnonzero(lung.any(tuple({0, 1, 2} - {axis})))
        middle = (places[0] + places[-1] + 1) / 2 * side / lung.shape[axis]
        first = round(middle - size / 2)
        # Keep the crop inside an image that is larger than the crop.
        corner.append(
            min(max(first, 0), side - size) if side > size else (side - size) // 2
        )
    has_lung = {
        number
        for place in np.flatnonzero(lung.any((1, 2)))
        for number in range(place * step_z, (place + 1) * step_z)
    }
    return tuple(corner), sorted(has_lung & set(range(depth)))


def _coarse_lung_mask(volume: CTVolume) -> tuple[np.ndarray, int]:
    """Compute a mask on a coarse grid, and return it and its step in slices."""
    sides = volume.shape[1:]
    steps = [max(1, round(_LUNG_GRID_MM / spacing)) for spacing in volume.spacing_mm]
    coarse = np.stack(
        [
            cv2.resize(
                plane.astype(np.float32),
                [-(-side // step) for side, step in zip(sides[::-1], steps[:0:-1])],
                interpolation=cv2.INTER_AREA,
            )
            for plane in volume.array[:: steps[0]]
        ]
    )
    z_mm, y_mm, x_mm = (
        volume.spacing_mm[0] * steps[0],
        *(
            spacing * side / small
            for spacing, side, small in zip(
                volume.spacing_mm[1:], sides, coarse.shape[1:]
            )
        ),
    )
    coarse_volume = CTVolume(
        coarse, (z_mm, y_mm, x_mm), volume.origin, volume.direction
    )
    return lung_mask(coarse_volume), steps[0]


def crop_plane(
    plane: np.ndarray, corner: tuple[int, int], size: int, outside: int
) -> np.ndarray:
    """Cut a square out of a slice and fill it outside of the slice.

    Args:
        plane: The slice.
        corner: First row and column of the square.
        size: Sides of the square in pixels.
        outside: Value outside of the slice.

    Returns:
        The square, int16.

    Shape:
        - plane: (H, W)
        - output: (size, size)
    """
    out = np.full((size, size), outside, np.int16)
    y, x = corner
    inner = plane[max(y, 0) : y + size, max(x, 0) : x + size]
    out[
        max(-y, 0) : max(-y, 0) + inner.shape[0],
        max(-x, 0) : max(-x, 0) + inner.shape[1],
    ] = inner
    return out
