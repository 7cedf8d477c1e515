"""Which lung is the left one."""

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from .volume import CTVolume

#: Value of a voxel of neither, the left and the right lung, the patient's.
NO_LUNG, LEFT_LUNG, RIGHT_LUNG = 0, 1, 2

_COARSE_MM = 4.0
_SMALL = 0.1  # of the larger lung's volume: a smaller part is no lung of its own


def left_right_lungs(mask: np.ndarray, volume: CTVolume) -> np.ndarray:
    """Tell the left from the right lung, also where they touch.

    On a grid of about 4 mm the mask is eroded until it falls into two large parts that
    lie side by side; each then takes back what was eroded (a watershed of the distance
    to the border), and every voxel of the mask goes to the nearest of both. The border
    between touching lungs is so as fine as the grid.

    Args:
        mask (np.ndarray): Boolean (D, H, W), from :func:`lung_mask`.
        volume (CTVolume): The scan; only its spacing and direction are used.

    Returns:
        np.ndarray: uint8 (D, H, W): :data:`NO_LUNG`, :data:`LEFT_LUNG`,
        :data:`RIGHT_LUNG`. A lung alone is left or right as it lies to the middle of
        the scan.

    Raises:
        ValueError: If the mask is empty or not of the volume's shape.
    """
    mask = np.asarray(mask, bool)
    if mask.shape != volume.shape or not mask.any():
        raise ValueError(
            f'expected a mask of shape {volume.shape} with lung in it, '
            f'but it has shape {mask.shape} and {mask.sum()} voxels'
        )
    steps = [max(1, round(_COARSE_MM / one)) for one in volume.spacing_mm]
    coarse = np.ascontiguousarray(mask[tuple(slice(None, None, s) for s in steps)])
    if not coarse.any():
        raise ValueError(f'expected lungs, but the mask holds only {mask.sum()} voxels')
    spacing_mm = np.multiply(steps, volume.spacing_mm)
    sides = _coarse_sides(coarse, spacing_mm, volume.direction)
    rows, columns = (
        np.arange(size) // step for size, step in zip(mask.shape[1:], steps[1:])
    )
    result = np.empty(mask.shape, np.uint8)
    for number, inside in enumerate(mask):
        own = sides[number // steps[0]][rows[:, None], columns]
        np.multiply(own, inside, out=result[number])
    return result


def _coarse_sides(
    mask: np.ndarray, spacing_mm: np.ndarray, direction: np.ndarray
) -> np.ndarray:
    """(D, H, W) uint8 the side of the lung that is nearest to each voxel."""
    depth_mm = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)
    depth_mm = depth_mm[1:-1, 1:-1, 1:-1]
    for radius_mm in np.arange(0, depth_mm.max(), _COARSE_MM / 2):
        parts, count = ndimage.label(depth_mm > radius_mm)
        size = np.bincount(parts.ravel(), minlength=3)[1:]
        order = np.argsort(-size, kind='stable')[:2]
        if size[order[1]] < _SMALL * size[order[0]]:
            continue
        centres = np.array(ndimage.center_of_mass(mask, parts, order + 1)) * spacing_mm
        apart = direction @ (centres[1] - centres[0])[::-1]  # (x, y, z)
        if abs(apart[0]) > max(abs(apart[1]), abs(apart[2])):
            first, second = (LEFT_LUNG, RIGHT_LUNG)[:: -1 if apart[0] > 0 else 1]
            markers = np.zeros(count + 1, np.uint8)
            markers[order + 1] = first, second
            sides = watershed(-depth_mm, markers[parts], mask=mask)
            nearest = ndimage.distance_transform_edt(
                sides == NO_LUNG,
                spacing_mm,
                return_distances=False,
                return_indices=True,
            )
            return sides[tuple(nearest)].astype(np.uint8)
    middle = np.array(ndimage.center_of_mass(mask)) - np.subtract(mask.shape, 1) / 2
    place = direction @ (middle * spacing_mm)[::-1]
    return np.full(mask.shape, LEFT_LUNG if place[0] > 0 else RIGHT_LUNG, np.uint8)
