"""Reading and writing of CT volumes."""

import dataclasses
import os

import numpy as np
import SimpleITK as sitk  # noqa: N813

from mmlesion.files import atomic_path

from .dicom import read_dicom_series, write_dicom_image
from .geometry import SourceImage, make_grid
from .metaimage_header import check_metaimage
from .nifti_header import check_nifti
from .nrrd_header import check_nrrd
from .volume import CTVolume

#: Suffixes of single-file volumes.
VOLUME_SUFFIXES = ('.nii', '.nii.gz', '.mha', '.mhd', '.nrrd', '.nhdr')

_KINDS = dict(nii='nifti', mha='metaimage', mhd='metaimage', nrrd='nrrd', nhdr='nrrd')
_READERS = dict(nifti='NiftiImageIO', metaimage='MetaImageIO', nrrd='NrrdImageIO')

_NIFTI_HEADER_BYTES = 352

#: Voxel sizes in mm, from micro-CT to scout views. Other values are header errors.
_SPACING_RANGE_MM = (0.005, 100.0)


def read_volume(
    path: str | os.PathLike[str], series_uid: str | None = None
) -> CTVolume:
    """Read a CT volume in HU.

    The array always consists of axial slices: z increases toward the head, y toward the
    back, x to the patient's left (LPS). The axes of the file are permuted and flipped
    accordingly, without interpolation, and ``origin`` and ``direction`` are adapted.
    The same scan stored as DICOM, NIfTI or NRRD therefore gives the same array. The
    voxel grid of the file is kept in ``source``.

    Args:
        path: Folder of a DICOM series, or a NIfTI, MetaImage or NRRD file.
        series_uid: UID of the DICOM series, required if the folder contains several.

    Returns:
        HU as int16 if the file stores integers that fit into int16, otherwise float32.

    Raises:
        FileNotFoundError: If the file or folder does not exist.
        ValueError: If the file has another format, is damaged, not 3-D or too large,
            has no usable geometry or NaN voxels, or if a DICOM folder
            does not contain exactly one complete CT series.
            does not contain exactly one complete CT series.
    """
    path = os.fspath(path)
    try:
        return _read_volume(path, series_uid)
    except ValueError as error:
        if path in str(error):
            raise
        raise ValueError(f'{path}: {error}') from None


def _read_volume(path: str, series_uid: str | None) -> CTVolume:
    image, source = _read_image(path, series_uid)
    low, high = _SPACING_RANGE_MM
    if not low <= min(image.GetSpacing()) <= max(image.GetSpacing()) <= high:
        raise ValueError(
            f'{path}: the voxel size must be {low:g} to {high:g} mm, but is '
            + ' x '.join(f'{one:g}' for one in image.GetSpacing())
        )
    # The name is used again to free the voxels in the order of the file: never more
    # than two copies of a long scan are in memory
    image = sitk.DICOMOrient(image, 'LPS')
    volume = image_to_volume(image)
    if volume.array.dtype.kind == 'f':
        broken = volume.array.size - int(np.isfinite(volume.array).sum())
        if broken:
            raise ValueError(f'{path}: {broken} voxels are NaN or infinite')
    return dataclasses.replace(volume, source=source)


def _read_image(path: str, series_uid: str | None) -> tuple[sitk.Image, SourceImage]:
    """Read the image of a file or folder in its own voxel order."""
    if os.path.isdir(path):
        series = read_dicom_series(path, series_uid)
        return series.image, SourceImage(
            path,
            'dicom',
            make_grid(*_geometry(series.image)),
            series.uid,
            series.paths,
            series.numbers,
            series.warnings,
        )
    if not os.path.exists(path):
        raise FileNotFoundError(f'{path}: no such file or folder')
    if not path.lower().endswith(VOLUME_SUFFIXES):
        raise ValueError(
            f'{path}: expected the folder of a DICOM series or a '
            'file ' + ', '.join(VOLUME_SUFFIXES)
        )
    kind = _KINDS[path.lower().removesuffix('.gz').rpartition('.')[2]]
    image, warnings = _read_file(path, kind)
    grid = make_grid(*_geometry(image))
    return image, SourceImage(path, kind, grid, warnings=tuple(warnings))


def write_volume(path: str | os.PathLike[str], volume: CTVolume) -> None:
    """Write a CT volume atomically.

    Args:
        path: NIfTI, MetaImage (``.mha``) or NRRD (``.nrrd``) file, which is
            compressed. A path without suffix is a new folder for a DICOM series
            (16 bit, rounded).
        volume: The volume. The order of its array is kept.

    Raises:
        ValueError: If the suffix is unknown or HU do not fit into 16 bits.
        FileExistsError: If the DICOM folder is not empty.
        OSError: If the file cannot be written.
    """
    path = os.fspath(path)
    image = volume_to_image(volume)
    suffix = next(
        (
            one
            for one in ('.nii', '.nii.gz', '.mha', '.nrrd')
            if path.lower().endswith(one)
        ),
        '',
    )
    if not suffix:
        if os.path.splitext(path)[1]:
            raise ValueError(
                f'{path}: expected a file .nii, .nii.gz, .mha or '
                '.nrrd, or a folder for a DICOM series'
            )
        if not _fits_16_bit(volume.array):
            raise ValueError(
                f'{path}: DICOM stores 16-bit HU, but the volume has values outside '
                '[-32768, 32767]'
            )
        rounded = np.rint(volume.array).astype(np.int16)
        stored = sitk.GetImageFromArray(rounded)
        stored.CopyInformation(image)
        write_dicom_image(path, stored)
        return
    try:
        with atomic_path(path) as partial:
            write_itk_image(image, partial)
    except (OSError, RuntimeError):
        raise OSError(
            f'{path}: the volume could not be written; is there a '
            'folder and space on the disk?'
        ) from None


def write_itk_image(image: sitk.Image, path: str | os.PathLike[str]) -> None:
    """Write an image with compression, and check that a NIfTI file is complete.

    ITK does not report that the disk is full while it writes NIfTI.

    Raises:
        OSError: If the NIfTI file is incomplete.
        RuntimeError: If ITK cannot write the file.
    """
    path = os.fspath(path)
    sitk.WriteImage(image, path, useCompression=True)
    if not path.lower().endswith(('.nii', '.nii.gz')):
        return
    values = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel()
    expected = _NIFTI_HEADER_BYTES + values * image.GetSizeOfPixelComponent()
    found = os.path.getsize(path)
    if path.lower().endswith('.gz') and found > 4:
        with open(path, 'rb') as file:  # gzip ends with the size modulo 2^32
            file.seek(-4, os.SEEK_END)
            found = int.from_bytes(file.read(), 'little')
        expected %= 2**32
    if found != expected:
        raise OSError(f'{path}: the file is incomplete; is the disk full?')


def image_to_volume(image: sitk.Image) -> CTVolume:
    """Convert a SimpleITK image to a volume without changing its axes."""
    array = sitk.GetArrayFromImage(image)  # (D, H, W)
    if array.dtype.kind in 'iu' and _fits_16_bit(array):
        array = array.astype(np.int16, copy=False)
    else:
        array = array.astype(np.float32, copy=False)
    return CTVolume(
        array,
        image.GetSpacing()[::-1],
        image.GetOrigin(),
        np.reshape(image.GetDirection(), (3, 3)),
    )


def axial_slices(volume: CTVolume) -> CTVolume:
    """Permute and flip the axes of a volume to axial slices, as in ``read_volume``.

    Args:
        volume: A volume with any direction.

    Returns:
        The volume itself if it already consists of axial slices (LPS).
    """
    nearest = np.abs(volume.direction).argmax(0)
    if (nearest == (0, 1, 2)).all() and (np.diag(volume.direction) > 0).all():
        return volume
    image = sitk.DICOMOrient(volume_to_image(volume), 'LPS')
    return dataclasses.replace(image_to_volume(image), source=volume.source)


def volume_to_image(volume: CTVolume) -> sitk.Image:
    """Convert a volume to a SimpleITK image."""
    array = volume.array
    if array.dtype == bool or array.dtype == np.float16:
        array = array.astype(np.int16 if array.dtype == bool else np.float32)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(volume.spacing_mm[::-1])
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction.ravel().tolist())
    return image


def _read_file(path: str, kind: str) -> tuple[sitk.Image, list[str]]:
    affine, warnings = None, []
    if kind == 'nifti':
        affine, warnings = check_nifti(path)
    elif kind == 'metaimage':
        check_metaimage(path, oriented=True)
    else:
        check_nrrd(path, oriented=True)
    try:
        # Select the reader by suffix. ITK would otherwise guess the format from the
        # content.
        image = sitk.ReadImage(path, imageIO=_READERS[kind])
    except RuntimeError:
        raise ValueError(
            f'{path}: the file is damaged or truncated, or its content does not '
            'match its suffix'
        ) from None
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]  # NIfTI with a time axis of length 1
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(
            f'{path}: expected a volume with one value per voxel, but it has '
            f'size {image.GetSize()} and '
            f'{image.GetNumberOfComponentsPerPixel()} value(s) per voxel'
        )
    if affine is not None:
        _check_affine(image, affine, path)
    return image, warnings


def _check_affine(image: sitk.Image, affine: np.ndarray, path: str) -> None:
    """Check that ITK uses the affine matrix of the file."""
    corners = np.array(
        [at * np.subtract(image.GetSize(), 1) for at in np.ndindex(2, 2, 2)]
    )
    wanted = corners @ affine[:3, :3].T + affine[:3, 3]
    used = [
        image.TransformContinuousIndexToPhysicalPoint(corner.tolist())
        for corner in corners.astype(float)
    ]
    if not np.allclose(wanted, used, atol=0.1):
        raise ValueError(
            f'{path}: the affine is not supported; voxels would be '
            f'{np.abs(wanted - used).max():.3g} mm from their position in the file'
        )


def _geometry(image: sitk.Image) -> tuple:
    return (
        image.GetSize(),
        image.GetSpacing(),
        image.GetOrigin(),
        np.reshape(image.GetDirection(), (3, 3)),
    )


def _fits_16_bit(array: np.ndarray) -> bool:
    return array.min() >= -32768 and array.max() <= 32767
