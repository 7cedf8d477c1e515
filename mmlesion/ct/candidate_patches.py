"""Patches around candidates for lesions, at a fixed physical scale."""

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from .slice_archive import SliceArchive, write_slice_archive
from .volume import CTVolume

#: Distance of the voxels of a patch (z, y, x) in mm.
PATCH_SPACING_MM = (2.0, 1.0, 1.0)
#: Voxels (z, y, x) of a patch that a network processes.
PATCH_SHAPE = (21, 40, 40)
#: Voxels by which a stored patch is larger on each side, for random shifts.
PATCH_MARGIN = (1, 4, 4)


def cut_candidate_patch(
    volume: CTVolume, center: ArrayLike, margin: bool = False
) -> np.ndarray:
    """Cut a patch by linear interpolation. The border of the volume is repeated.

    Args:
        volume: HU, axial slices.
        center: Center (z, y, x) in voxels of the volume.
        margin: Whether the patch has the margin :data:`PATCH_MARGIN`.

    Shape:
        - center: (3,)
        - output: (21, 40, 40), or (23, 48, 48) with the margin.

    Returns:
        HU, int16.

    Raises:
        ValueError: If the center is not finite.
    """
    middle = np.asarray(center, float)
    if middle.shape != (3,) or not np.isfinite(middle).all():
        raise ValueError(
            f'the center of a patch must be three finite numbers, got {middle.tolist()}'
        )
    places, corner = [], []
    for axis in range(3):
        count = PATCH_SHAPE[axis] + (2 * PATCH_MARGIN[axis] if margin else 0)
        steps = np.arange(count) - (count - 1) / 2
        place = middle[axis] + steps * PATCH_SPACING_MM[axis] / volume.spacing_mm[axis]
        place = np.clip(place, 0, volume.shape[axis] - 1)
        corner.append(slice(int(place[0]), int(np.ceil(place[-1])) + 1))
        places.append(place - corner[-1].start)
    near = volume.array[tuple(corner)].astype(np.float32)
    grid = np.meshgrid(*places, indexing='ij')
    patch = ndimage.map_coordinates(near, grid, order=1, mode='nearest')
    return np.clip(np.rint(patch), -32768, 32767).astype(np.int16)


def crop_margin(patch: np.ndarray, shift: Sequence[int] = (0, 0, 0)) -> np.ndarray:
    """Remove the margin of a patch.

    Args:
        patch: Patch with the margin.
        shift: Shift (z, y, x) in voxels, at most :data:`PATCH_MARGIN`.

    Shape:
        - patch: (23, 48, 48)
        - output: (21, 40, 40)
    """
    first = [margin + moved for margin, moved in zip(PATCH_MARGIN, shift)]
    return patch[tuple(slice(a, a + n) for a, n in zip(first, PATCH_SHAPE))]


def write_candidate_patch(path: str | os.PathLike[str], patch: np.ndarray) -> None:
    """Write a patch with its margin, with checksums and atomically.

    Args:
        path: Output file; replaced if it exists.
        patch: HU, int16.

    Raises:
        OSError: If the file cannot be written.
    """
    write_slice_archive(path, range(len(patch)), patch.__getitem__)


def read_candidate_patch(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a patch with its margin.

    Args:
        path: File of :func:`write_candidate_patch`.

    Shape:
        - output: (23, 48, 48), int16

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is damaged or is no patch of this size.
    """
    expected = tuple(n + 2 * m for n, m in zip(PATCH_SHAPE, PATCH_MARGIN))
    with SliceArchive(path) as archive:
        planes = [archive.read(number) for number in sorted(archive.stored)]
    shape = (len(planes), *(planes[0].shape if planes else ()))
    if shape != expected:
        raise ValueError(
            f'{os.fspath(path)}: expected a patch of {expected} voxels (z, y, x), got '
            f'{shape}'
        )
    return np.stack(planes)
