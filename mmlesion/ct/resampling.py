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
    resampled = resample_image(
        volume_to_image(volume),
        size[::-1],
        sitk.Transform(),
        interpolation,
        volume.index_to_world(first).tolist(),
        new[::-1],
        float(volume.array.min()),
    )
    return dataclasses.replace(image_to_volume(resampled), source=volume.source)


def resample_image(
    image: sitk.Image,
    size: Sequence[int],
    transform: sitk.Transform,
    interpolation: str,
    origin: Sequence[float],
    spacing_mm: Sequence[float],
    outside: float,
) -> sitk.Image:
    """Resample an image with its direction; integers are rounded and not truncated.

    Args:
        image: The image.
        size: New numbers of voxels (x, y, z).
        transform: Transform from the new to the old positions.
        interpolation: Name of :data:`INTERPOLATORS`.
        origin: Position of the first new voxel (x, y, z).
        spacing_mm: New voxel size (x, y, z).
        outside: Value outside the image.

    Returns:
        The new image, with the same pixel type.
    """
    pixel_type = image.GetPixelID()
    is_integer = pixel_type not in (sitk.sitkFloat32, sitk.sitkFloat64)
    rounds = is_integer and interpolation != 'nearest'
    resampled = sitk.Resample(
        image,
        size,
        transform,
        INTERPOLATORS[interpolation],
        origin,
        spacing_mm,
        image.GetDirection(),
        outside,
        sitk.sitkFloat32 if rounds else pixel_type,
    )
    # Casting truncates toward zero
    return sitk.Clamp(sitk.Round(resampled), pixel_type) if rounds else resampled
