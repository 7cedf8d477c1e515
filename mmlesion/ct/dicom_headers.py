"""Headers of DICOM slices."""

import locale
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813

from .dicom_fragments import check_fragments

_TAGS = dict(
    modality='0008|0060',
    patient='0010|0020',
    image_type='0008|0008',
    number='0020|0013',
    position='0020|0032',
    orientation='0020|0037',
    frames='0028|0008',
    intercept='0028|1052',
    slope='0028|1053',
    bits='0028|0100',
    signed='0028|0103',
    units='0028|1054',
    spacing='0028|0030',
    sop_class='0008|0016',
    photometric='0028|0004',
)


@dataclass(frozen=True)
class SliceHeader:
    """Header of a DICOM slice: a file, or a frame of a multi-frame file.

    Attributes:
        path: The file.
        modality: Modality such as ``'CT'``; ``'unknown'`` if missing.
        patient: Patient ID. It is compared but never shown or stored.
        number: InstanceNumber, -1 where the file has none; or number of the frame.
        position: World position (x, y, z) of the first pixel in mm, if known.
        axes: World directions of columns and rows, (3, 2), if known.
        shape: Rows and columns.
        components: Values per pixel; 3 for a color image.
        frames: Number of frames.
        localizer: Whether the file is a scout view.
        rescaled: Whether the file says how stored values become HU.
        units: RescaleType, such as ``'HU'``; empty where the file has none.
        spacing_mm: Pixel size (y, x) as PixelSpacing states it, if it is stated.
        frame: Number of the frame, from 1; 0 for a file of one slice.
        sop_class: UID of the SOP class.
        rescale: RescaleIntercept and RescaleSlope; in a file of one slice also
            BitsAllocated and PixelRepresentation. All values are as the file states
            them, and together they determine the type of HU values.
        photometric: PhotometricInterpretation.
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
    units: str
    spacing_mm: np.ndarray | None
    frame: int = 0
    sop_class: str = ''
    rescale: tuple[str, ...] = ('', '')
    photometric: str = ''

    @property
    def name(self) -> str:
        """File and frame, for messages."""
        return f'{self.path}, frame {self.frame}' if self.frame else self.path

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


def read_header(path: str) -> SliceHeader:
    """Read the header of one DICOM file.

    Raises:
        ValueError: If the file cannot be read.
    """
    check_fragments(path)
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
    position = numbers_of(text['position'], 3)
    axes = numbers_of(text['orientation'], 6)
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
        units=text['units'],
        spacing_mm=numbers_of(text['spacing'], 2),
        sop_class=text['sop_class'],
        photometric=text['photometric'],
        rescale=tuple(text[name] for name in ('intercept', 'slope', 'bits', 'signed')),
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


def numbers_of(text: str, count: int) -> np.ndarray | None:
    """Return ``count`` finite numbers of a DICOM value, or None."""
    try:
        values = np.array([float(value) for value in text.split('\\')])
    except ValueError:
        return None
    return values if values.shape == (count,) and np.isfinite(values).all() else None


def check_slopes(slices: Iterable[SliceHeader]) -> None:
    """Check the rescale slope of slices, because GDCM replaces 0 by 1.

    Args:
        slices: The slices. A slice without RescaleSlope has the slope 1.

    Raises:
        ValueError: If a slope is 0 or not a number. The message names the file.
    """
    for each in slices:
        slope = each.rescale[1]
        found = numbers_of(slope, 1)
        if slope and (found is None or found[0] == 0):
            raise ValueError(
                f'{each.path}: RescaleSlope must be a number other than 0, but is '
                f'{slope!r:.80}'
            )
