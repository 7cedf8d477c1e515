"""CT volumes from and to files."""

import os

import numpy as np
import SimpleITK as sitk  # noqa: N813

from .dicom import read_dicom_image, write_dicom_image
from .metaimage_header import check_metaimage
from .nifti_header import check_nifti
from .nrrd_header import check_nrrd
from .volume import CTVolume

#: What is read and written as one file.
VOLUME_SUFFIXES = ('.nii', '.nii.gz', '.mha', '.mhd', '.nrrd', '.nhdr')
# Check and ITK's reader of each
_FORMATS = {
    **dict.fromkeys(('.nii', '.nii.gz'), (check_nifti, 'NiftiImageIO')),
    **dict.fromkeys(('.mha', '.mhd'), (check_metaimage, 'MetaImageIO')),
    **dict.fromkeys(('.nrrd', '.nhdr'), (check_nrrd, 'NrrdImageIO')),
}
# Micro-CT to whole-body scouts; what lies beyond is a damaged or wrong header
_SPACING_RANGE_MM = (0.005, 100.0)


def read_volume(path: str | os.PathLike, series_uid: str | None = None) -> CTVolume:
    """Read a CT volume in HU.

    Whatever the file's own order, the array comes out as axial slices: z
    rises to the head, y to the back, x to the patient's left (LPS). Axes are
    permuted and flipped for that, nothing is interpolated, and ``origin`` and
    ``direction`` follow. The same scan as DICOM, NIfTI or NRRD so gives the
    same array.

    Args:
        path (str | os.PathLike): Folder of a DICOM series, or a NIfTI,
            MetaImage or NRRD file.
        series_uid (str, optional): DICOM: which series of the folder.

    Returns:
        CTVolume: HU as int16 where the file's type is integer and its values
        fit, else as float32.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it is of another kind, damaged, not 3D, or a DICOM
            folder without exactly one complete CT series.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        image = read_dicom_image(path, series_uid)
    elif not os.path.exists(path):
        raise FileNotFoundError(f'{path}: no such file or folder')
    elif path.lower().endswith(VOLUME_SUFFIXES):
        image = _read_file(path)
    else:
        raise ValueError(
            f'{path}: expected the folder of a DICOM series or a '
            'file ' + ', '.join(VOLUME_SUFFIXES)
        )
    try:
        volume = image_to_volume(sitk.DICOMOrient(image, 'LPS'))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f'{path}: {error}') from None
    _check_values(volume, path)
    return volume


def write_volume(path: str | os.PathLike, volume: CTVolume) -> None:
    """Write a CT volume, all of it or nothing.

    Args:
        path (str | os.PathLike): NIfTI, MetaImage (``.mha``) or NRRD
            (``.nrrd``) file, compressed; or, without a suffix, a new folder
            for a DICOM series (16 bit, rounded).
        volume (CTVolume): The volume.

    Raises:
        ValueError: If the suffix is unknown or HU do not fit into 16 bits.
        FileExistsError: If the DICOM folder is not empty.
        OSError: If it cannot be written.
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
                f'{path}: DICOM stores 16-bit HU, but the volume leaves [-32768, 32767]'
            )
        rounded = np.rint(volume.array).astype(np.int16)
        stored = sitk.GetImageFromArray(rounded)
        stored.CopyInformation(image)
        write_dicom_image(path, stored)
        return
    partial = f'{path}.{os.getpid()}{suffix}'
    try:
        sitk.WriteImage(image, partial, useCompression=True)
        os.replace(partial, path)
    except RuntimeError:
        raise OSError(
            f'{path}: the volume could not be written; is there a '
            'folder and space on the disk?'
        ) from None
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def image_to_volume(image: sitk.Image) -> CTVolume:
    """Take a SimpleITK image as a volume, in the order that it has."""
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


def volume_to_image(volume: CTVolume) -> sitk.Image:
    """Take a volume as a SimpleITK image."""
    array = volume.array
    if array.dtype == bool or array.dtype == np.float16:
        array = array.astype(np.int16 if array.dtype == bool else np.float32)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(volume.spacing_mm[::-1])
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction.ravel().tolist())
    return image


def _read_file(path: str) -> sitk.Image:
    suffix = next(one for one in VOLUME_SUFFIXES if path.lower().endswith(one))
    check, reader = _FORMATS[suffix]
    check(path)
    try:
        # By name, lest ITK takes a file of another kind for what it is
        image = sitk.ReadImage(path, imageIO=reader)
    except RuntimeError:
        raise ValueError(
            f'{path}: the file is damaged, cut off or not what its suffix says'
        ) from None
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]  # NIfTI with a time axis of one
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(
            f'{path}: expected a volume with one value per voxel, but it has '
            f'size {image.GetSize()} and '
            f'{image.GetNumberOfComponentsPerPixel()} value(s) per voxel'
        )
    return image


def _check_values(volume: CTVolume, path: str) -> None:
    low, high = _SPACING_RANGE_MM
    if not low <= min(volume.spacing_mm) <= max(volume.spacing_mm) <= high:
        raise ValueError(
            f'{path}: the voxels must have {low:g} to {high:g} mm, but have '
            + ' x '.join(f'{one:g}' for one in volume.spacing_mm)
        )
    if volume.array.dtype.kind == 'f' and not np.isfinite(volume.array).all():
        raise ValueError(f'{path}: a voxel is NaN or infinite')


def _fits_16_bit(array: np.ndarray) -> bool:
    return array.min() >= -32768 and array.max() <= 32767
