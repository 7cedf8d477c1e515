"""Voxels and key slices as the page of a scan stores them."""

import base64
import gzip
import math
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmlesion.ct import CTVolume, volume_to_image, window_hu, write_itk_image

#: Range of values that a CT scanner stores. The page stores 16 bits.
_HU_RANGE = (-1024, 3071)
#: Number of voxels that NiiVue prepares within about a second without a graphics card.
_FAST_VOXELS = 8_000_000
_JPEG_QUALITY = 90


def scan_voxels(volume: CTVolume) -> dict[str, str]:
    """Return the voxels as texts of base64, gzip and NIfTI.

    Returns:
        ``voxels``, and for large scans ``reduced``: the means of blocks of
        :func:`reduction` x :func:`reduction` pixels, which the page shows first.
    """
    low, high = _HU_RANGE
    hu = np.rint(np.clip(np.nan_to_num(volume.array, nan=low), low, high))
    hu = hu.astype(np.int16)
    texts = dict(voxels=_nifti(hu, volume))
    factor = reduction(volume)
    if factor > 1:
        texts['reduced'] = _nifti(_block_means(hu, factor), volume, factor)
    return texts


def reduction(volume: CTVolume) -> int:
    """Return the side of the blocks of pixels that form a pixel of the first display.

    It is 1 if the page shows the scan at full resolution from the start.
    """
    return math.ceil(math.sqrt(volume.array.size / _FAST_VOXELS))


def _block_means(hu: np.ndarray, factor: int) -> np.ndarray:
    """Average blocks of pixels; incomplete blocks are filled with the edge."""
    rows, columns = hu.shape[1:]
    pad = ((0, -rows % factor), (0, -columns % factor))
    means = np.empty(
        (len(hu), (rows + pad[0][1]) // factor, (columns + pad[1][1]) // factor),
        np.int16,
    )
    for plane, mean in zip(hu, means):
        full = np.pad(plane, pad, 'edge').astype(np.float32)
        blocks = full.reshape(len(mean), factor, -1, factor)
        mean[:] = np.rint(blocks.mean((1, 3)))
    return means


def _nifti(hu: np.ndarray, volume: CTVolume, factor: int = 1) -> str:
    """Return blocks of ``factor`` x ``factor`` pixels of a volume as a text."""
    z_mm, y_mm, x_mm = volume.spacing_mm
    middle = (factor - 1) / 2
    origin = volume.grid.index_to_world((middle, middle, 0.0))
    stored = CTVolume(
        hu, (z_mm, y_mm * factor, x_mm * factor), tuple(origin), volume.direction
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'scan.nii'
        write_itk_image(volume_to_image(stored), path)
        return packed(path.read_bytes())


def key_slice(
    volume: CTVolume, lower: np.ndarray, upper: np.ndarray, number: int, window: Any
) -> dict[str, Any]:
    """Return the picture of a slice and the place of a box in it.

    The picture has the orientation of the viewer: left, or for sagittal slices the
    back, is on the right; the head is at the top, or for axial slices the front.

    Args:
        volume: The scan.
        lower: Lower corner of the box, (z, y, x), in voxels.
        upper: Upper corner of the box.
        number: Index of the slice.
        window: Window in HU.

    Returns:
        ``data``, a JPEG as base64; ``sides_mm``, its width and height; ``box``, left,
        top, width and height of the box as fractions of the picture.
    """
    hu = np.asarray(volume.array[number], np.float32)
    plane = window_hu(np.nan_to_num(hu, nan=_HU_RANGE[0]), window)
    sides = np.array(plane.shape)
    box = np.array([(lower[1:] + 0.5) / sides, (upper[1:] + 0.5) / sides])
    mm = sides * volume.spacing_mm[1:]
    # World axes (x to the left, y to the back, z to the head) of rows and columns
    steps = [volume.direction[:, 1], volume.direction[:, 0]]
    world = [int(np.abs(step).argmax()) for step in steps]
    if world[0] < world[1]:  # x is horizontal if it is in the slice, z is vertical
        plane, box, mm = plane.T, box[:, ::-1], mm[::-1]
        steps, world = steps[::-1], world[::-1]
    for axis, (step, along) in enumerate(zip(steps, world)):
        down = -1 if along == 2 else 1
        if step[along] * down < 0:
            plane = np.flip(plane, axis)
            box[:, axis] = 1 - box[::-1, axis]
    jpeg = cv2.imencode(
        '.jpg',
        np.ascontiguousarray(np.rint(plane).astype(np.uint8)),
        [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY],
    )[1]
    (top, left), (bottom, right) = box.tolist()
    return dict(
        data=base64.b64encode(jpeg.tobytes()).decode('ascii'),
        sides_mm=mm[::-1].tolist(),
        box=[left, top, right - left, bottom - top],
    )


def packed(content: bytes) -> str:
    """Return bytes as base64 of gzip."""
    return base64.b64encode(gzip.compress(content, 4, mtime=0)).decode('ascii')
