"""Reading and writing of radiographs: one plane of gray values without a unit."""

import math
import os

import numpy as np
import SimpleITK as sitk  # noqa: N813

from mmlesion.files import atomic_path, check_limit

from .dicom_fragments import check_fragments
from .metaimage_header import check_metaimage
from .nrrd_header import check_nrrd

_CHECKS = {
    '.mha': check_metaimage,
    '.mhd': check_metaimage,
    '.nrrd': check_nrrd,
    '.nhdr': check_nrrd,
    '.dcm': check_fragments,
}


def read_radiograph(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a radiograph, for instance a MetaImage (``.mha``) of NODE21.

    Args:
        path: A file that SimpleITK can read, or a volume of one slice.

    Shape:
        - returned: (H, W) = (y, x)

    Returns:
        Gray values as float32.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file cannot be read, is not one plane with one channel, or
            contains a value that is not finite.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such file; expected a radiograph')
    check = _CHECKS.get(os.path.splitext(path)[1].lower())
    if check is not None:
        check(path)
    try:
        reader = sitk.ImageFileReader()
        reader.SetFileName(path)
        reader.ReadImageInformation()
        size = math.prod(reader.GetSize()) / 1e6
        check_limit(size, 'SLICE_MPX', f'{path}: the radiograph')
        pixels = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError:
        raise ValueError(
            f'{path}: not readable as an image; it is damaged or of another kind'
        ) from None
    shape = pixels.shape
    if pixels.ndim == 3 and len(pixels) == 1:
        pixels = pixels[0]
    if pixels.ndim != 2 or pixels.size == 0:
        raise ValueError(
            f'{path}: expected one plane with one value per pixel, but the '
            f'shape is {shape}'
        )
    pixels = pixels.astype(np.float32)
    if not np.isfinite(pixels).all():
        raise ValueError(f'{path}: a pixel is NaN or infinite')
    return pixels


def write_radiograph(
    path: str | os.PathLike[str], pixels: np.ndarray, spacing_mm: float = 1.0
) -> None:
    """Write a compressed radiograph atomically.

    Args:
        path: Output file. The suffix selects the format, for instance ``.mha``.
        pixels: Gray values.
        spacing_mm: Size of a pixel.

    Shape:
        - pixels: (H, W) = (y, x)

    Raises:
        OSError: If the file cannot be written.
    """
    path = os.fspath(path)
    image = sitk.GetImageFromArray(pixels)
    image.SetSpacing((float(spacing_mm), float(spacing_mm)))
    try:
        with atomic_path(path) as partial:
            sitk.WriteImage(image, partial, useCompression=True)
    except (FileNotFoundError, RuntimeError):
        raise OSError(
            f'could not write {path}: is the disk full, or the folder missing?'
        ) from None
