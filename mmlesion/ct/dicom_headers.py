"""Headers of the DICOM files in a folder, and their grouping into series."""

import locale
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813

_TAGS = dict(
    modality='0008|0060',
    patient='0010|0020',
    image_type='0008|0008',
    number='0020|0013',
    position='0020|0032',
    orientation='0020|0037',
    frames='0028|0008',
    intercept='0028|1052',
    spacing='0028|0030',
)


@dataclass(frozen=True)
class SliceHeader:
    """The header fields of a DICOM file that the reader needs.

    Attributes:
        path: The file.
        modality: Modality such as ``'CT'``; ``'unknown'`` if missing.
        patient: Patient ID. It is compared but never shown or stored.
        number: InstanceNumber; -1 if missing.
        position: World position (x, y, z) of the first pixel in mm, if known.
        axes: World directions of columns and rows, (3, 2), if known.
        shape: Rows and columns.
        components: Values per pixel; 3 for a color image.
        frames: Number of frames.
        localizer: Whether the file is a scout view.
        rescaled: Whether the file has a rescale intercept.
        spacing_mm: Pixel size (y, x) from PixelSpacing, if present.
    """

    path: str
    modality: str
    patient: str
    number: int
    position: np.ndarray | None
    axes: np.ndarray | None
    shape: tuple[int, int]
    components: int
    frames: int
    localizer: bool
    rescaled: bool
    spacing_mm: np.ndarray | None

    @property
    def normal(self) -> np.ndarray:
        """Normal vector of the slice."""
        assert self.axes is not None
        return np.cross(self.axes[:, 0], self.axes[:, 1])

    @property
    def height(self) -> float:
        """Position along the normal in mm."""
        assert self.position is not None
        return float(self.position @ self.normal)


@dataclass(frozen=True)
class SeriesInfo:
    """One DICOM series in a folder, without patient data.

    Attributes:
        uid: Series instance UID.
        modality: Modality such as ``'CT'``.
        num_slices: Number of slices without scout views.
        shape: Rows and columns of a slice.
        axial: Whether the slices are perpendicular to the patient's long axis.
    """

    uid: str
    modality: str
    num_slices: int
    shape: tuple[int, int]
    axial: bool

    @property
    def num_voxels(self) -> int:
        """Number of voxels in the series."""
        return self.num_slices * self.shape[0] * self.shape[1]

    def __str__(self) -> str:
        plane = 'axial' if self.axial else 'not axial'
        rows, columns = self.shape
        return (
            f'{self.uid} ({self.modality}, {plane}, {self.num_slices} slices of '
            f'{columns} x {rows})'
        )


def list_series(folder: str | os.PathLike[str]) -> list[SeriesInfo]:
    """List the DICOM series of a folder, sorted by UID.

    Args:
        folder: Folder of DICOM files; subfolders are not searched.

    Raises:
        ValueError: If there is no series, or a DICOM file is damaged.
    """
    folder = os.fspath(folder)
    with quiet_itk():
        return [
            _series_info(uid, [read_header(path) for path in paths])
            for uid, paths in sorted(series_files(folder).items())
        ]


def choose_series(folder: str | os.PathLike[str]) -> tuple[str, str]:
    """Choose the largest axial CT series of a folder.

    Args:
        folder: Folder of DICOM files; subfolders are not searched.

    Returns:
        UID of the series and a sentence about the choice; the sentence is empty
        if there is only one series.

    Raises:
        ValueError: If the folder has no series, no axial CT series, or files of
            several patients.
    """
    folder = os.fspath(folder)
    with quiet_itk():
        headers = {
            uid: [read_header(path) for path in paths]
            for uid, paths in sorted(series_files(folder).items())
        }
    found = [_series_info(uid, series) for uid, series in headers.items()]
    if len(found) == 1:
        return found[0].uid, ''
    patients = {each.patient for series in headers.values() for each in series}
    listed = '; '.join(str(each) for each in found)
    if len(patients) > 1:
        raise ValueError(
            f'{folder}: the DICOM files belong to {len(patients)} patients, expected '
            f'one patient; choose a series by its UID: {listed}'
        )
    usable = [each for each in found if each.modality == 'CT' and each.axial]
    if not usable:
        raise ValueError(f'{folder}: expected an axial CT series, but found {listed}')
    best = max(usable, key=lambda each: (each.num_voxels, each.uid))
    return best.uid, (
        f'{len(found)} DICOM series were found and the largest axial CT was read: '
        f'{best.uid}; the series are {listed}'
    )


def series_files(folder: str) -> dict[str, tuple[str, ...]]:
    """Return the files of each series in a folder.

    Raises:
        ValueError: If there is no series, or a DICOM file is damaged.
    """
    with quiet_itk():
        found = sitk.ImageSeriesReader.GetGDCMSeriesIDs(folder)
        files = {
            uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder, uid)
            for uid in found
        }
    # A truncated file belongs to no series and leaves no gap at the ends of a series.
    # Therefore, every file that starts like DICOM must belong to a series.
    readable = {os.path.basename(path) for paths in files.values() for path in paths}
    for name in sorted(set(os.listdir(folder)) - readable - {'DICOMDIR'}):
        if _starts_like_dicom(os.path.join(folder, name)):
            raise ValueError(
                f'{os.path.join(folder, name)}: the DICOM file is damaged or cut off'
            )
    if not found:
        raise ValueError(f'{folder}: no DICOM series is in this folder')
    return files


def read_header(path: str) -> SliceHeader:
    """Read the header of one DICOM file.

    Raises:
        ValueError: If the file cannot be read.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(
            f'{path}: the file cannot be read ({last_line(error)})'
        ) from None
    known = set(reader.GetMetaDataKeys())
    text = {
        name: reader.GetMetaData(tag).strip() if tag in known else ''
        for name, tag in _TAGS.items()
    }
    position, axes = _numbers(text['position'], 3), _numbers(text['orientation'], 6)
    columns, rows = reader.GetSize()[:2]
    return SliceHeader(
        path=path,
        modality=text['modality'] or 'unknown',
        patient=text['patient'],
        number=int(text['number']) if text['number'].lstrip('-').isdigit() else -1,
        position=position,
        axes=None if axes is None else axes.reshape(2, 3).T,
        shape=(rows, columns),
        components=reader.GetNumberOfComponents(),
        frames=int(text['frames']) if text['frames'].isdigit() else 1,
        localizer='LOCALIZER' in text['image_type'].upper(),
        rescaled=bool(text['intercept']),
        spacing_mm=_numbers(text['spacing'], 2),
    )


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Suppress the warnings of ITK and keep the locale.

    GDCM sets the locale to C when it writes. Python would then decode text files and
    the output of other programs as ASCII.
    """
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    character_set = locale.setlocale(locale.LC_CTYPE)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
        locale.setlocale(locale.LC_CTYPE, character_set)


def last_line(error: Exception) -> str:
    """Return the last line of an ITK error message, which contains the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else 'unknown reason'


def _series_info(uid: str, headers: list[SliceHeader]) -> SeriesInfo:
    slices = [each for each in headers if not each.localizer] or headers
    axial = all(
        each.axes is not None and int(np.abs(each.normal).argmax()) == 2
        for each in slices
    )
    return SeriesInfo(uid, slices[0].modality, len(slices), slices[0].shape, axial)


def _numbers(text: str, count: int) -> np.ndarray | None:
    try:
        values = np.array([float(value) for value in text.split('\\')])
    except ValueError:
        return None
    return values if values.shape == (count,) and np.isfinite(values).all() else None


def _starts_like_dicom(path: str) -> bool:
    if not os.path.isfile(path):
        return False
    with open(path, 'rb') as file:
        return file.read(132)[128:] == b'DICM'
