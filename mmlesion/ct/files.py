"""CT volumes from and to files."""

import gzip
import math
import os
import struct
import zlib

import numpy as np
import SimpleITK as sitk  # noqa: N813

from .dicom import read_dicom_image, write_dicom_image
from .volume import CTVolume

#: What is read and written as one file.
VOLUME_SUFFIXES = ('.nii', '.nii.gz', '.mha', '.mhd', '.nrrd', '.nhdr')


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
    image = sitk.DICOMOrient(image, 'LPS')
    return image_to_volume(image)


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


def _check_nifti_size(path: str) -> None:
    """ITK fills up a NIfTI file that is cut off; find that out before."""
    with open(path, 'rb') as file:
        packed = file.read(2) == b'\x1f\x8b'
    try:
        with (gzip.open if packed else open)(path, 'rb') as file:
            head = file.read(348)
            order = '<' if head[:4] == struct.pack('<i', 348) else '>'
            if struct.unpack_from(f'{order}i', head)[0] != 348:
                return  # not NIfTI-1: what it is, ITK must know
            dims = struct.unpack_from(f'{order}8h', head, 40)
            bits = struct.unpack_from(f'{order}h', head, 72)[0]
            start = struct.unpack_from(f'{order}f', head, 108)[0]
            expected = int(start) + bits // 8 * math.prod(dims[1 : dims[0] + 1])
            size = len(head)
            while block := file.read(1 << 20):
                size += len(block)
    except (EOFError, OSError, struct.error, zlib.error):
        raise ValueError(f'{path}: the file is damaged or cut off') from None
    if size < expected:
        raise ValueError(
            f'{path}: the file is cut off after {size} of {expected} bytes'
        )


def _read_file(path: str) -> sitk.Image:
    if path.lower().endswith(('.nii', '.nii.gz')):
        _check_nifti_size(path)
    try:
        image = sitk.ReadImage(path)
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


def _fits_16_bit(array: np.ndarray) -> bool:
    return array.min() >= -32768 and array.max() <= 32767
