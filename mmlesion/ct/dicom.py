"""Reading and writing of DICOM CT series."""

import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813

from mmlesion.files import PARTIAL_SUFFIX
from mmlesion.files.limits import check_limit

from .dicom_folder import series_files, series_headers
from .dicom_headers import SliceHeader, check_slopes, last_line, quiet_itk
from .enhanced_dicom import read_frames

#: Dates and times that ITK sets: instance creation, study, series, content.
_DATES = ('0008|0012', '0008|0020', '0008|0021', '0008|0023')
_TIMES = ('0008|0013', '0008|0030', '0008|0031', '0008|0033')

#: Maximum deviation of a slice distance from the median distance, as a fraction of the
#: median. Larger deviations indicate missing slices. Headers round positions to
#: 0.1 mm or finer, which is 10 % of the thinnest slices.
_UNEVEN = 0.15

#: Pixel sizes in mm, from micro-CT to the widest field of view of a CT scanner.
_PIXEL_RANGE_MM = (0.01, 5.0)

#: Maximum distance of a slice from the line through the first and the last slice, in
#: pixels. Headers contain rounded positions.
_OFF_LINE_PX = 0.25

#: Images of clinical CT contain air, which is about -1000 HU.
_AIR_HU = -500

#: Values of RescaleType that are not Hounsfield units (DICOM PS3.3, C.11.1.1.2), as
#: in maps of dual-energy CT.
_OTHER_UNITS = ('OD', 'MGML', 'PCT', 'Z_EFF', 'ED', 'EDW')


@dataclass(frozen=True)
class DicomSeries:
    """One CT series with its files and reader warnings.

    Attributes:
        image: HU, slices sorted along their normal.
        uid: Series instance UID.
        paths: File of each slice; the same file for all frames of a multi-frame file.
        numbers: InstanceNumber of each slice, -1 where a file has none; in
            multi-frame files the number of the frame.
        warnings: Sentences on omitted images and assumptions.
    """

    image: sitk.Image
    uid: str
    paths: tuple[str, ...]
    numbers: tuple[int, ...]
    warnings: tuple[str, ...]


def read_dicom_series(folder: str, series_uid: str | None = None) -> DicomSeries:
    """Read one CT series and check that its slices form a volume.

    A slice is a file, or a frame of an enhanced multi-frame file. Scout views in the
    series are omitted. Slices are sorted by their position, independent of the names of
    the files and the order of the frames.

    Args:
        folder: Folder of the series; subfolders are not searched.
        series_uid: UID of the series, required if the folder contains several.

    Returns:
        The series in HU (rescale slope and intercept applied).

    Raises:
        ValueError: If there is no series, more than one or another modality, if
            slices are missing, repeated, unevenly spaced or tilted, if the
            files are of several patients, have no rescale intercept or another unit
            than HU, are color images, or if a file is damaged.
        ModuleNotFoundError: If a file is multi-frame and pydicom is not installed.
    """
    uid, paths = _series_paths(folder, series_uid)
    found = []
    with quiet_itk():
        headers = series_headers(paths)
        slices = [each for each in headers if not each.localizer]
        if len(slices) < len(headers):
            found.append(
                f'{len(headers) - len(slices)} localizer image(s) of the series '
                'were ignored'
            )
        for header in slices:
            _check_header(header)
        slices.sort(key=lambda each: each.height)
        spacing = _check_slices(slices, folder)
        image = _read_slices(slices, folder)
    found += _check_rescale(image, slices, folder) + _missing_ends(slices)
    first = slices[0]
    assert first.axes is not None and first.position is not None
    assert first.spacing_mm is not None
    image.SetSpacing((*first.spacing_mm[::-1].tolist(), spacing))
    image.SetOrigin(first.position.tolist())
    image.SetDirection(np.column_stack([first.axes, first.normal]).ravel().tolist())
    return DicomSeries(
        image,
        uid,
        tuple(each.path for each in slices),
        tuple(each.number for each in slices),
        tuple(found),
    )


def read_dicom_image(folder: str, series_uid: str | None = None) -> sitk.Image:
    """Read one CT series as an image; see :func:`read_dicom_series`.

    The warnings of the reader are issued as Python warnings with the folder.
    """
    series = read_dicom_series(folder, series_uid)
    for warning in series.warnings:
        warnings.warn(f'{folder}: {warning}', stacklevel=2)
    return series.image


def write_dicom_image(
    folder: str,
    image: sitk.Image,
    patient: str = 'Anonymous',
    new_uid: Callable[[], str] | None = None,
) -> None:
    """Write a volume as a DICOM CT series with one file per slice.

    Args:
        folder: A new or empty folder.
        image: HU, 16 bit.
        patient: Name and ID of the patient.
        new_uid: Function that returns the UIDs of study, series, frame of reference and
            slices, in this order. Defaults to random UIDs. If it is given, dates and
            times are fixed as well, so that the same UIDs give the same bytes.

    Raises:
        FileExistsError: If the folder is not empty.
    """
    if os.path.isdir(folder) and os.listdir(folder):
        raise FileExistsError(
            f'{folder}: a DICOM series needs an empty folder to be written to'
        )
    partial = os.path.abspath(folder) + PARTIAL_SUFFIX
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    os.makedirs(partial)
    try:
        _write_slices(partial, folder, image, patient, new_uid)
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_slices(
    partial: str,
    folder: str,
    image: sitk.Image,
    patient: str,
    new_uid: Callable[[], str] | None,
) -> None:
    """Write the files of a series to the folder ``partial``."""
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    direction = np.reshape(image.GetDirection(), (3, 3))
    reproducible = new_uid is not None
    new_uid = new_uid or _new_uid
    study, series, frame = new_uid(), new_uid(), new_uid()
    for number in range(image.GetDepth()):
        one = image[:, :, number : number + 1]
        tags = {
            '0008|0016': '1.2.840.10008.5.1.4.1.1.2',  # CT image storage
            '0008|0018': new_uid(),
            '0008|0060': 'CT',
            '0010|0010': patient,
            '0010|0020': patient,
            '0020|000d': study,
            '0020|000e': series,
            '0020|0052': frame,
            '0020|0013': str(number + 1),
            '0018|0050': f'{image.GetSpacing()[2]:.10g}',
            # GDCM writes 1 mm if the process has read a DICOM file before.
            '0018|0088': f'{image.GetSpacing()[2]:.10g}',
            '0020|0032': _join(image.TransformIndexToPhysicalPoint((0, 0, number))),
            '0020|0037': _join(direction[:, :2].T.ravel()),
            '0028|1052': '0',
            '0028|1053': '1',
            '0028|1054': 'HU',
        }
        if reproducible:
            # Otherwise, the writer uses the current time.
            tags.update(dict.fromkeys(_DATES, '20000101'))
            tags.update(dict.fromkeys(_TIMES, '000000'))
        for tag, value in tags.items():
            one.SetMetaData(tag, value)
        writer.SetFileName(os.path.join(partial, f'{number + 1:04d}.dcm'))
        try:
            with quiet_itk():
                writer.Execute(one)
        except RuntimeError:
            raise OSError(
                f'{folder}: the slices could not be written; is the disk full?'
            ) from None


def _series_paths(folder: str, series_uid: str | None) -> tuple[str, tuple[str, ...]]:
    files = series_files(folder)
    if series_uid is None and len(files) > 1:
        raise ValueError(
            f'{folder}: {len(files)} DICOM series are in this folder, expected '
            'one; choose by series_uid, one of ' + ', '.join(files)
        )
    if series_uid is not None and series_uid not in files:
        raise ValueError(
            f'{folder}: no series {series_uid} is in this folder; '
            'there is ' + ', '.join(files)
        )
    uid = series_uid or next(iter(files))
    return uid, files[uid]


def _read_slices(slices: list[SliceHeader], folder: str) -> sitk.Image:
    """Read the voxels of sorted slices in HU."""
    multi_frame = [each for each in slices if each.frame]
    if not multi_frame:
        try:
            if len({each.rescale for each in slices}) == 1:
                return sitk.ReadImage([each.path for each in slices])
            # ITK would store all slices in the pixel type of the first slice
            arrays = [
                sitk.GetArrayFromImage(sitk.ReadImage(each.path)) for each in slices
            ]
            return sitk.GetImageFromArray(
                np.concatenate([each.reshape(1, *each.shape[-2:]) for each in arrays])
            )
        except RuntimeError as error:
            raise ValueError(
                f'{folder}: the series cannot be read ({last_line(error)})'
            ) from None
    if len(multi_frame) < len(slices):
        raise ValueError(
            f'{folder}: the series mixes multi-frame files with files of one slice'
        )
    paths = {each.path for each in slices}
    if len(paths) > 1:
        raise ValueError(
            f'{folder}: the series has {len(paths)} multi-frame files; expected one'
        )
    return sitk.GetImageFromArray(
        read_frames(slices[0].path, [each.frame for each in slices])
    )


def _check_header(header: SliceHeader) -> None:
    """Check the properties of a single slice."""
    path = header.name
    if header.modality != 'CT':
        raise ValueError(
            f"{path}: expected modality 'CT', but it is '{header.modality}'"
        )
    if header.components != 1:
        raise ValueError(
            f'{path}: expected one value per pixel, but the file is a color picture '
            f'with {header.components}'
        )
    if header.photometric == 'MONOCHROME1':
        raise ValueError(
            f'{path}: expected PhotometricInterpretation MONOCHROME2, but it is '
            'MONOCHROME1 (inverted values)'
        )
    if header.frames != 1:
        raise ValueError(
            f'{path}: expected one slice per file or an enhanced multi-frame CT, but '
            f'the file holds {header.frames} frames of another class; convert it to '
            'DICOM with one slice per file or to NIfTI first'
        )
    if header.units.upper() in _OTHER_UNITS:
        raise ValueError(
            f"{path}: expected values in HU, but RescaleType is '{header.units}'"
        )
    if header.position is None or header.axes is None:
        raise ValueError(
            f'{path}: the slice has no position '
            '(ImagePositionPatient, ImageOrientationPatient)'
        )
    low, high = _PIXEL_RANGE_MM
    if header.spacing_mm is None or not (
        low <= header.spacing_mm.min() <= header.spacing_mm.max() <= high
    ):
        stated = 'absent' if header.spacing_mm is None else header.spacing_mm.tolist()
        raise ValueError(
            f'{path}: PixelSpacing must be two numbers from {low:g} to {high:g} mm, '
            f'but is {stated}'
        )
    rows, columns = header.shape
    check_limit(rows * columns / 1e6, 'SLICE_MPX', f'{path}: the slice')
    if not np.allclose(header.axes.T @ header.axes, np.eye(2), atol=1e-3):
        raise ValueError(
            f'{path}: ImageOrientationPatient must be two perpendicular unit '
            f'vectors, but is {header.axes.T.ravel().tolist()}'
        )


def _check_slices(slices: list[SliceHeader], folder: str) -> float:
    """Check that slices are evenly stacked, and return their distance in mm."""
    if len(slices) < 2:
        raise ValueError(
            f'{folder}: a volume needs at least two slices, but '
            f'the series has {len(slices)}'
        )
    if len({each.patient for each in slices}) > 1:
        raise ValueError(
            f'{folder}: the files of the series name different patients, expected '
            'one patient'
        )
    _check_equal_planes(slices)
    step_mm = _check_steps(slices, folder)
    _check_line(slices, folder)
    return step_mm


def _check_equal_planes(slices: list[SliceHeader]) -> None:
    """Check that all slices have the same orientation, shape and pixel spacing."""
    first = slices[0]
    assert first.axes is not None and first.spacing_mm is not None
    for each in slices:
        assert each.axes is not None and each.spacing_mm is not None
        if not np.allclose(each.axes, first.axes, atol=1e-3):
            raise ValueError(
                f'{each.name}: the slice has another orientation than the '
                'first slice of its series'
            )
        if each.shape != first.shape:
            raise ValueError(
                f'{each.name}: the slice has {each.shape[1]} x {each.shape[0]} '
                f'pixels, but {first.name} has {first.shape[1]} x {first.shape[0]}'
            )
        if not np.allclose(each.spacing_mm, first.spacing_mm, rtol=1e-3):
            raise ValueError(
                f'{each.name}: PixelSpacing is {each.spacing_mm.tolist()}, but '
                f'{first.spacing_mm.tolist()} in {first.name}'
            )


def _check_steps(slices: list[SliceHeader], folder: str) -> float:
    """Check that slices follow at equal distances; return their mean in mm."""
    steps = np.diff([each.height for each in slices])
    usual = float(np.median(steps))
    for step, before, after in zip(steps, slices, slices[1:]):
        names = f'{os.path.basename(before.name)} and {os.path.basename(after.name)}'
        if abs(step) < 1e-3:
            raise ValueError(
                f'{folder}: {names} have the same position; '
                'expected one slice per position'
            )
        if abs(step - usual) > _UNEVEN * usual:
            raise ValueError(
                f'{folder}: {names} are {step:.4g} mm apart, but the other '
                f'slices {usual:.4g} mm; slices are missing or unevenly '
                'spaced'
            )
    mean = float(np.mean(steps))
    heights = np.array([each.height for each in slices])
    off = np.abs(heights - heights[0] - mean * np.arange(len(slices)))
    if off.max() > mean / 2:
        raise ValueError(
            f'{slices[int(off.argmax())].name}: the slice is {off.max():.3g} mm from '
            f'its place in evenly spaced slices of {mean:.4g} mm; the slices are '
            'unevenly spaced'
        )
    return mean


def _check_line(slices: list[SliceHeader], folder: str) -> None:
    """Check that the first pixels of all slices lie on a line along the normal."""
    first = slices[0]
    assert slices[-1].position is not None and first.position is not None
    assert first.spacing_mm is not None
    across = slices[-1].position - first.position
    across = across - first.normal * (across @ first.normal)
    shift_mm = float(np.linalg.norm(across))
    length_mm = float(abs((slices[-1].position - first.position) @ first.normal))
    # Orientations of three decimal places cause up to 0.1 degrees
    if shift_mm > max(first.spacing_mm.min(), 2e-3 * length_mm):
        raise ValueError(
            f'{folder}: the slices are sheared against each other by {shift_mm:.3g} mm '
            '(tilted gantry), which is not supported'
        )
    for place, each in enumerate(slices):
        assert each.position is not None
        line = first.position + across * place / (len(slices) - 1)
        off = each.position - line
        off = off - first.normal * (off @ first.normal)
        if np.linalg.norm(off) > _OFF_LINE_PX * first.spacing_mm.min():
            raise ValueError(
                f'{each.name}: the slice is moved in its plane by '
                f'{np.linalg.norm(off):.3g} mm against the others'
            )


def _missing_ends(slices: list[SliceHeader]) -> list[str]:
    """Return a warning if the slice numbers do not begin with 0 or 1."""
    least = min(each.number for each in slices)
    if least <= 1:
        return []
    return [
        f'the first InstanceNumber is {least}; slices before it may be missing at an '
        'end of the series'
    ]


def _check_rescale(
    image: sitk.Image, slices: list[SliceHeader], folder: str
) -> list[str]:
    """Check that stored values are HU if the files have no rescale intercept."""
    check_slopes(slices)
    bare = sum(not each.rescaled for each in slices)
    if not bare:
        return []
    if bare < len(slices):
        raise ValueError(
            f'{folder}: {bare} of {len(slices)} slices have no RescaleIntercept; '
            'expected it in all slices'
        )
    if sitk.GetArrayViewFromImage(image).min() > _AIR_HU:
        raise ValueError(
            f'{folder}: the slices have no RescaleIntercept and no value below '
            f'{_AIR_HU}, so they are not in HU'
        )
    return ['the slices have no RescaleIntercept; the stored values were taken as HU']


def _new_uid() -> str:
    return f'2.25.{uuid.uuid4().int}'  # DICOM PS3.5, B.2


def _join(values: Iterable[float]) -> str:
    # Decimal strings have at most 16 characters.
    return '\\'.join(f'{value:.10g}'[:16] for value in values)
