"""DICOM series: which files, in which order, and whether any is missing."""

import locale
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813

_MODALITY, _SERIES_UID = '0008|0060', '0020|000e'
_POSITION, _ORIENTATION = '0020|0032', '0020|0037'

#: How far the distance of two slices may be from the usual one, as a share of
#: it, before slices count as missing. Headers round positions to 0.1 mm or
#: finer, which is 10 % of the thinnest slices.
_UNEVEN = 0.15


@dataclass
class _Slice:
    path: str
    position: np.ndarray
    axes: np.ndarray  # (3, 2): world directions of columns and rows

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.axes[:, 0], self.axes[:, 1])

    @property
    def height(self) -> float:
        return float(self.position @ self.normal)


def read_dicom_image(folder: str, series_uid: str | None = None) -> sitk.Image:
    """Read one CT series, sorted and checked.

    Args:
        folder (str): Folder of the series' files (not searched below).
        series_uid (str, optional): Which series, where there are several.

    Returns:
        sitk.Image: HU (rescale slope and intercept applied).

    Raises:
        ValueError: If there is no series, more than one, another modality,
            slices are missing, twice there or tilted, or a file is damaged.
    """
    paths = _series_paths(folder, series_uid)
    with _quiet():
        slices = sorted(
            (_read_header(path) for path in paths), key=lambda one: one.height
        )
        spacing = _check_slices(slices, folder)
        try:
            image = sitk.ReadImage([one.path for one in slices])
        except RuntimeError as error:
            raise ValueError(
                f'{folder}: the series cannot be read ({_last_line(error)})'
            ) from None
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(
            f'{folder}: expected one value per voxel, but the '
            f'series has {image.GetNumberOfComponentsPerPixel()}'
        )
    first = slices[0]
    image.SetSpacing((*image.GetSpacing()[:2], spacing))
    image.SetOrigin(first.position.tolist())
    image.SetDirection(np.column_stack([first.axes, first.normal]).ravel().tolist())
    return image


def write_dicom_image(
    folder: str,
    image: sitk.Image,
    patient: str = 'Anonymous',
    new_uid: Callable[[], str] | None = None,
) -> None:
    """Write a volume as a DICOM CT series, one file a slice.

    Args:
        folder (str): A folder that does not exist or is empty.
        image (sitk.Image): 16-bit HU.
        patient (str): Its name and ID.
        new_uid (Callable, optional): Gives the UIDs of study, series, frame of
            reference and slices, in this order. Defaults to random ones.

    Raises:
        FileExistsError: If the folder holds anything.
    """
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        raise FileExistsError(
            f'{folder}: a DICOM series needs an empty folder to be written to'
        )
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    direction = np.reshape(image.GetDirection(), (3, 3))
    new_uid = new_uid or _new_uid
    study, series, frame = new_uid(), new_uid(), new_uid()
    for number in range(image.GetDepth()):
        one = image[:, :, number]
        tags = {
            '0008|0016': '1.2.840.10008.5.1.4.1.1.2',  # CT image storage
            '0008|0018': new_uid(),
            _MODALITY: 'CT',
            '0010|0010': patient,
            '0010|0020': patient,
            '0020|000d': study,
            _SERIES_UID: series,
            '0020|0052': frame,
            '0020|0013': str(number + 1),
            '0018|0050': f'{image.GetSpacing()[2]:.10g}',
            _POSITION: _join(image.TransformIndexToPhysicalPoint((0, 0, number))),
            _ORIENTATION: _join(direction[:, :2].T.ravel()),
            '0028|1052': '0',
            '0028|1053': '1',
            '0028|1054': 'HU',
        }
        for tag, value in tags.items():
            one.SetMetaData(tag, value)
        writer.SetFileName(os.path.join(folder, f'{number + 1:04d}.dcm'))
        with _quiet():
            writer.Execute(one)


def _series_paths(folder: str, series_uid: str | None) -> tuple[str, ...]:
    with _quiet():
        found = sitk.ImageSeriesReader.GetGDCMSeriesIDs(folder)
        files = {
            uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder, uid)
            for uid in found
        }
    # A file that is cut off belongs to no series and would leave no gap at the
    # ends, so what says that it is DICOM must be in one
    readable = {os.path.basename(path) for paths in files.values() for path in paths}
    for name in sorted(set(os.listdir(folder)) - readable - {'DICOMDIR'}):
        if _says_dicom(os.path.join(folder, name)):
            raise ValueError(
                f'{os.path.join(folder, name)}: the DICOM file is damaged or cut off'
            )
    if not found:
        raise ValueError(f'{folder}: no DICOM series is in this folder')
    if series_uid is None and len(found) > 1:
        raise ValueError(
            f'{folder}: {len(found)} DICOM series are in this folder, expected '
            'one; choose by series_uid, one of ' + ', '.join(found)
        )
    if series_uid is not None and series_uid not in found:
        raise ValueError(
            f'{folder}: no series {series_uid} is in this folder; '
            'there is ' + ', '.join(found)
        )
    return files[series_uid or found[0]]


def _says_dicom(path: str) -> bool:
    if not os.path.isfile(path):
        return False
    with open(path, 'rb') as file:
        return file.read(132)[128:] == b'DICM'


def _read_header(path: str) -> _Slice:
    reader = sitk.ImageFileReader()
    reader.SetFileName(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(
            f'{path}: the file cannot be read ({_last_line(error)})'
        ) from None
    known = reader.GetMetaDataKeys()
    modality = (
        reader.GetMetaData(_MODALITY).strip() if _MODALITY in known else 'unknown'
    )
    if modality != 'CT':
        raise ValueError(f"{path}: expected modality 'CT', but it is '{modality}'")
    try:
        position = np.array(
            [float(v) for v in reader.GetMetaData(_POSITION).split('\\')]
        )
        axes = np.array(
            [float(v) for v in reader.GetMetaData(_ORIENTATION).split('\\')]
        )
        return _Slice(path, position.reshape(3), axes.reshape(2, 3).T)
    except (RuntimeError, ValueError):
        raise ValueError(
            f'{path}: the slice does not say where it lies '
            '(ImagePositionPatient, ImageOrientationPatient)'
        ) from None


def _check_slices(slices: list[_Slice], folder: str) -> float:
    """Check that slices are evenly stacked; their distance in mm."""
    if len(slices) < 2:
        raise ValueError(
            f'{folder}: a volume needs at least two slices, but '
            f'the series has {len(slices)}'
        )
    for one in slices:
        if not np.allclose(one.axes, slices[0].axes, atol=1e-3):
            raise ValueError(
                f'{one.path}: the slice is turned against the first of its '
                'series; they make no volume'
            )
    steps = np.diff([one.height for one in slices])
    usual = float(np.median(steps))
    for step, before, after in zip(steps, slices, slices[1:]):
        names = f'{os.path.basename(before.path)} and {os.path.basename(after.path)}'
        if abs(step) < 1e-3:
            raise ValueError(
                f'{folder}: {names} lie at the same place; expected one slice for each'
            )
        if abs(step - usual) > _UNEVEN * usual:
            raise ValueError(
                f'{folder}: {names} are {step:.4g} mm apart, but the other '
                f'slices {usual:.4g} mm; slices are missing or unevenly '
                'spaced'
            )
    across = slices[-1].position - slices[0].position
    across = across - slices[0].normal * (across @ slices[0].normal)
    if np.linalg.norm(across) > 0.1 * usual * (len(slices) - 1):
        raise ValueError(
            f'{folder}: the slices are sheared against each other '
            '(tilted gantry), which is not supported'
        )
    return float(np.mean(steps))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep ITK's own warnings off the screen; what matters is raised.

    Also undo what GDCM does when it writes: it leaves the locale at C, after
    which Python takes text files and other programs' output for ASCII.
    """
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    character_set = locale.setlocale(locale.LC_CTYPE)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
        locale.setlocale(locale.LC_CTYPE, character_set)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else 'unknown reason'


def _new_uid() -> str:
    return f'2.25.{uuid.uuid4().int}'  # DICOM PS3.5, B.2


def _join(values) -> str:
    # Decimal strings hold 16 characters
    return '\\'.join(f'{value:.10g}'[:16] for value in values)
