"""Arrays of a volume in the voxel order of its file."""

import numpy as np
import SimpleITK as sitk  # noqa: N813

from mmlesion.ct import CTVolume


def array_in_source(array: np.ndarray, volume: CTVolume) -> np.ndarray:
    """Reorder an array of the volume's shape to the axes of the file.

    Axes are permuted and flipped; no value is interpolated.

    Args:
        array: Values on the voxels of the volume.
        volume: The volume with the file from which it was read.

    Shape:
        - array: (D, H, W) = (z, y, x).
        - output: (K, J, I), the reversed order of the file's indices.

    Raises:
        ValueError: If the volume was resampled.
    """
    zero = volume.index_to_source((0, 0, 0))
    steps = np.array([volume.index_to_source(unit) - zero for unit in np.eye(3)])
    signs = np.rint(steps).astype(int)
    whole = np.allclose(steps, signs, atol=1e-3)
    if not whole or not np.array_equal(np.abs(signs).sum(0), (1, 1, 1)):
        raise ValueError(
            'the volume was resampled, so that its voxels are not those of the file'
        )
    # Row n of `signs` is the direction of array axis n in (i, j, k).
    order = [int(np.abs(signs[:, axis]).argmax()) for axis in (2, 1, 0)]
    result = np.transpose(array, order)
    flipped = [
        number
        for number, axis in enumerate((2, 1, 0))
        if signs[order[number], axis] < 0
    ]
    result = np.flip(result, flipped)
    size = volume.source_grid.size
    corner = [0 if signs[:, axis].sum() > 0 else size[axis] - 1 for axis in range(3)]
    if result.shape != size[::-1] or not np.allclose(zero, corner, atol=1e-2):
        raise ValueError(
            f'the volume has {result.shape[::-1]} voxels in the order of its file, '
            f'but the file has {size}'
        )
    return result


def image_in_source(array: np.ndarray, volume: CTVolume) -> sitk.Image:
    """Return an image with the geometry of the file; see :func:`array_in_source`."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array_in_source(array, volume)))
    grid = volume.source_grid
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin)
    image.SetDirection(np.ravel(grid.direction).tolist())
    return image
