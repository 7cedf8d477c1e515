"""Resampling of a volume to another voxel size."""

import dataclasses
from collections.abc import Sequence

import SimpleITK as sitk  # noqa: N813

from .files import image_to_volume, volume_to_image
from .volume import CTVolume

INTERPOLATORS = dict(
    linear=sitk.sitkLinear, nearest=sitk.sitkNearestNeighbor, cubic=sitk.sitkBSpline
)


def resample(
    volume: CTVolume, spacing_mm: float | Sequence[float], interpolation: str = 'linear'
) -> CTVolume:
    """Resample a volume to a voxel size.

    The outer corner of the first voxel keeps its position. The covered space is the
    same up to half a new voxel at the far end. The volume is not smoothed before
    downsampling.

    Args:
        volume: The volume.
        spacing_mm: New voxel size, one number or (z, y, x).
        interpolation: ``'linear'``, ``'nearest'`` (for masks) or ``'cubic'``.

    Returns:
        The resampled volume, with the same array type and ``source``.

    Raises:
        ValueError: If the voxel size is not positive or the interpolation is
            unknown.
    """
    if isinstance(spacing_mm, (int, float)):
        spacing_mm = (spacing_mm,) * 3
    new = tuple(float(value) for value in spacing_mm)
    if len(new) != 3 or not min(new) > 0:
        raise ValueError(
            'spacing_mm must be a positive number or three of '
            f'them (z, y, x), but is {spacing_mm}'
        )
    if interpolation not in INTERPOLATORS:
        raise ValueError(
            'interpolation must be one of '
            f'{", ".join(INTERPOLATORS)}, but is '
            f'{interpolation!r}'
        )
    # Index in the old grid of the center of the first new voxel
    first = [(after / before - 1) / 2 for before, after in zip(volume.spacing_mm, new)]
    size = [
        max(1, round(count * before / after))
        for count, before, after in zip(volume.shape, volume.spacing_mm, new)
    ]
    image = volume_to_image(volume)
    resampled = sitk.Resample(
        image,
        size[::-1],
        sitk.Transform(),
        INTERPOLATORS[interpolation],
        volume.index_to_world(first).tolist(),
        new[::-1],
        image.GetDirection(),
        float(volume.array.min()),
        image.GetPixelID(),
    )
    return dataclasses.replace(image_to_volume(resampled), source=volume.source)
