"""Parser of the rows of the official index of DeepLesion."""

import math
import re
from dataclasses import dataclass

from mmlesion.files import is_file_name

#: Official names of ``Train_Val_Test``.
SPLITS: dict[str, int] = dict(train=1, val=2, test=3)

#: Official names of ``Coarse_lesion_type`` 1 to 8. The whole training split has -1, not
#: annotated.
LESION_TYPES: dict[int, str] = {
    1: 'bone',
    2: 'abdomen',
    3: 'mediastinum',
    4: 'liver',
    5: 'lung',
    6: 'kidney',
    7: 'soft tissue',
    8: 'pelvis',
}

#: Maximum distance of a box beyond the border of the image. The official boxes are the
#: ends of the two diameters plus 5 px and are not clipped: 8 of the 29,073 official
#: rows extend beyond the border, by at most 6.5 px.
BORDER_SLACK_PX = 10.0

#: Smallest slice distance. The official file has values of 0.25 mm and more, and
#: negative and missing values. For the latter, the key slice is repeated.
LEAST_INTERVAL_MM = 0.05

#: Values of ``Patient_gender``, as in DICOM.
SEXES = ('F', 'M', 'O')

#: Tolerance between a diameter and the distance of its two ends. The official values
#: have six digits.
DIAMETER_TOLERANCE_PX = 0.5

_FILE_NAME = re.compile(r'(?P<series>[^/\\]+)_(?P<slice>\d+)\.png')


@dataclass(frozen=True, kw_only=True)
class KeySliceRow:
    """The columns that describe a key slice.

    Attributes:
        row: Line of the file; the header is row 1.
        file_name: Name of the key slice in the csv file, ``<series>_<slice>.png``.
        series: Folder of the series, ``<patient>_<study>_<series>``.
        key_slice: Number of the key slice.
        patient: Number of the patient.
        slice_range: First and last slice of the published sub-volume.
        spacing_mm: Pixel size along x, which equals that along y within 0.1 %.
        interval_mm: Slice distance, NaN if missing.
        image_size: Width and height in pixels.
        split: 1 training, 2 validation, 3 test.
        study: Number of the study of the patient.
        series_id: Number of the series of the study.
        sex: ``'F'``, ``'M'`` or ``'O'``.
        age_years: Age of the patient.

    The last four are None if the csv file has no such column or value.
    """

    row: int
    file_name: str
    series: str
    key_slice: int
    patient: int
    slice_range: tuple[int, int]
    spacing_mm: float
    interval_mm: float
    image_size: tuple[int, int]
    split: int
    study: int | None = None
    series_id: int | None = None
    sex: str | None = None
    age_years: float | None = None


@dataclass(frozen=True, kw_only=True)
class LesionRow(KeySliceRow):
    """One row of ``DL_info.csv``: one lesion on one key slice.

    Attributes:
        box_px: (x1, y1, x2, y2), outer edges in pixels of the PNG file. Pixel n covers
            n to n + 1, as in COCO and mmdet. The csv file has the first and the last
            pixel, counted from 1. The box may extend beyond the image; see
            ``BORDER_SLACK_PX``.
        diameters_px: Long and short RECIST diameter.
        lesion_type: 1 to 8 (``LESION_TYPES``), or -1.
        noisy: Whether the authors flagged the annotation as possibly wrong.
        recist_px: x and y of both ends of the long, then of the short diameter, in
            the coordinates of ``box_px``. The csv file has pixel centers, counted from
            1.
        location: x, y and z of the center relative to the body, from 0 to 1.
        window_hu: Lower and upper end of the HU window that the radiologist used.

    The last three are None if the csv file has no such column or value.
    """

    box_px: tuple[float, float, float, float]
    diameters_px: tuple[float, float]
    lesion_type: int
    noisy: bool
    recist_px: tuple[float, ...] | None = None
    location: tuple[float, float, float] | None = None
    window_hu: tuple[float, float] | None = None


def parse_lesion_row(fields: dict[str, str], row: int, where: str) -> LesionRow:
    """Parse and check the cells of a lesion.

    Args:
        fields: Text of the cells by column.
        row: Number of the row.
        where: Prefix of error messages.

    Raises:
        ValueError: If a cell is malformed.
    """
    key_slice = parse_key_slice(fields, row, where)
    lesion_type = _number(fields, 'Coarse_lesion_type', where, int)
    if lesion_type != -1 and lesion_type not in LESION_TYPES:
        raise ValueError(
            f'{where}: Coarse_lesion_type must be -1 or 1 to 8, but is {lesion_type}'
        )
    x1, y1, x2, y2 = _numbers(fields, 'Bounding_boxes', 4, where)
    written = (x1, y1, x2, y2)
    box_px = (x1 - 1, y1 - 1, x2, y2)
    check_box(box_px, *key_slice.image_size, where, written)
    return LesionRow(
        **vars(key_slice),
        box_px=box_px,
        diameters_px=_numbers(fields, 'Lesion_diameters_Pixel_', 2, where),
        lesion_type=lesion_type,
        noisy=_number(fields, 'Possibly_noisy', where, int) > 0,
        **_parse_optional(fields, where),
    )


def parse_key_slice(fields: dict[str, str], row: int, where: str) -> KeySliceRow:
    """Parse and check the cells that describe a key slice.

    Args:
        fields: Text of the cells by column.
        row: Number of the row.
        where: Prefix of error messages.

    Raises:
        ValueError: If a cell is malformed.
    """
    name = fields['File_name'].strip()
    match = _FILE_NAME.fullmatch(name)
    if match is None:
        raise ValueError(
            f"{where}: File_name must have the form '<series>_<slice>.png', "
            f'but is {name!r}'
        )
    if not is_file_name(match['series']):
        raise ValueError(f'{where}: File_name {name!r} does not name a series folder')
    key_slice = _number(fields, 'Key_slice_index', where, int)
    if key_slice != int(match['slice']):
        raise ValueError(
            f'{where}: Key_slice_index is {key_slice}, but File_name is {name}'
        )
    width, height = _numbers(fields, 'Image_size', 2, where, int)
    if width < 1 or height < 1:
        raise ValueError(
            f'{where}: Image_size must be positive, but is {width} x {height}'
        )
    spacing = _parse_spacing(fields, where)
    split = _number(fields, 'Train_Val_Test', where, int)
    if split not in SPLITS.values():
        raise ValueError(f'{where}: Train_Val_Test must be 1, 2 or 3, but is {split}')
    slice_range = _numbers(fields, 'Slice_range', 2, where, int)
    if slice_range[0] > slice_range[1]:
        raise ValueError(
            f'{where}: Slice_range must ascend, but is {fields["Slice_range"]!r}'
        )
    return KeySliceRow(
        row=row,
        file_name=name,
        series=match['series'],
        key_slice=key_slice,
        patient=_number(fields, 'Patient_index', where, int),
        slice_range=slice_range,
        spacing_mm=spacing[0],
        interval_mm=spacing[2],
        image_size=(width, height),
        split=split,
        **_parse_patient(fields, where),
    )


def _parse_spacing(fields: dict[str, str], where: str) -> tuple[float, ...]:
    """Return the spacing along x and y and the interval of the slices, in mm."""
    spacing = _numbers(fields, 'Spacing_mm_px_', 3, where, nan_allowed=True)
    if not (spacing[0] > 0 and math.isclose(spacing[0], spacing[1], rel_tol=1e-3)):
        raise ValueError(
            f'{where}: Spacing_mm_px_ must have the same positive '
            f'pixel size for x and y, but has {spacing[:2]}'
        )
    if 0 < spacing[2] < LEAST_INTERVAL_MM or spacing[2] == math.inf:
        raise ValueError(
            f'{where}: Spacing_mm_px_ must have a slice distance of '
            f'{LEAST_INTERVAL_MM} mm or more, but has {spacing[2]}'
        )
    return spacing


def _parse_optional(fields: dict[str, str], where: str) -> dict:
    """Return the optional values of a lesion."""
    fields = {name: cell.strip() for name, cell in fields.items()}
    values: dict = {}
    if fields.get('Measurement_coordinates'):
        values['recist_px'] = _parse_recist(fields, where)
    if fields.get('Normalized_lesion_location'):
        location = _numbers(fields, 'Normalized_lesion_location', 3, where)
        if not all(0 <= value <= 1 for value in location):
            raise ValueError(
                f'{where}: Normalized_lesion_location must be in [0, 1], but is '
                f'{location}'
            )
        values['location'] = location
    if fields.get('DICOM_windows'):
        window = _numbers(fields, 'DICOM_windows', 2, where)
        if window[0] >= window[1]:
            raise ValueError(f'{where}: DICOM_windows must ascend, but is {window}')
        values['window_hu'] = window
    return values


def _parse_recist(fields: dict[str, str], where: str) -> tuple[float, ...]:
    """Return the ends of both diameters; pixel n covers n to n + 1."""
    ends = _numbers(fields, 'Measurement_coordinates', 8, where)
    diameters = _numbers(fields, 'Lesion_diameters_Pixel_', 2, where)
    measured = math.dist(ends[:2], ends[2:4]), math.dist(ends[4:6], ends[6:])
    for written, length in zip(diameters, measured):
        if abs(written - length) > DIAMETER_TOLERANCE_PX:
            raise ValueError(
                f'{where}: Lesion_diameters_Pixel_ has {written:g}, but the ends '
                f'in Measurement_coordinates are {length:g} pixels apart'
            )
    return tuple(value - 0.5 for value in ends)


def _parse_patient(fields: dict[str, str], where: str) -> dict:
    """Return study, series, sex and age, if available."""
    fields = {name: cell.strip() for name, cell in fields.items()}
    values: dict = {}
    for name, key in (('Study_index', 'study'), ('Series_ID', 'series_id')):
        if fields.get(name):
            values[key] = _number(fields, name, where, int)
    if fields.get('Patient_gender'):
        if fields['Patient_gender'] not in SEXES:
            raise ValueError(
                f'{where}: Patient_gender must be F, M or O, but is '
                f'{fields["Patient_gender"]!r}'
            )
        values['sex'] = fields['Patient_gender']
    if fields.get('Patient_age', 'nan').lower() not in ('', 'nan'):
        values['age_years'] = _number(fields, 'Patient_age', where, float)
        if values['age_years'] < 0:
            raise ValueError(
                f'{where}: Patient_age must not be negative, but is '
                f'{fields["Patient_age"]}'
            )
    return values


def check_box(
    box_px: tuple[float, ...],
    width: int,
    height: int,
    where: str,
    written: tuple[float, ...] | None = None,
) -> None:
    """Check that a box has an area and is inside its image.

    Args:
        box_px: (x1, y1, x2, y2), outer edges in pixels.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        where: Prefix of error messages.
        written: Box as in the file, for error messages. Defaults to ``box_px``.

    Raises:
        ValueError: If the box has no area, or extends beyond the image by
            more than ``BORDER_SLACK_PX``.
    """
    x1, y1, x2, y2 = box_px
    shown = ', '.join(f'{value:g}' for value in written or box_px)
    if x2 <= x1 or y2 <= y1:
        raise ValueError(
            f'{where}: the box ({shown}) has no area; expected x1 < x2 and y1 < y2'
        )
    over = max(-x1, -y1, x2 - width, y2 - height)
    inside = x1 < width and y1 < height and x2 > 0 and y2 > 0
    if over > BORDER_SLACK_PX or not inside:
        raise ValueError(
            f'{where}: the box ({shown}) is outside the image '
            f'of {width} x {height} pixels'
        )


def _numbers(
    fields: dict[str, str],
    name: str,
    count: int,
    where: str,
    kind: type = float,
    nan_allowed: bool = False,
) -> tuple:
    cells = [cell.strip() for cell in fields[name].split(',')]
    if len(cells) != count:
        raise ValueError(
            f'{where}: {name} must contain {count} number(s), but is {fields[name]!r}'
        )
    return tuple(_parse_number(cell, name, where, kind, nan_allowed) for cell in cells)


def _number(fields: dict[str, str], name: str, where: str, kind: type):
    return _numbers(fields, name, 1, where, kind)[0]


def _parse_number(cell: str, name: str, where: str, kind: type, nan_allowed: bool):
    try:
        value = float(cell) if cell or not nan_allowed else math.nan
    except ValueError:
        raise ValueError(
            f'{where}: {name} must be numeric, but contains {cell!r}'
        ) from None
    if not (math.isfinite(value) or nan_allowed) or (
        kind is int and value != int(value)
    ):
        raise ValueError(
            f'{where}: {name} must be '
            + ('an integer' if kind is int else 'finite')
            + f', but contains {cell!r}'
        )
    return kind(value)
