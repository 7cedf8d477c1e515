"""The official index of DeepLesion, ``DL_info.csv``."""

import csv
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mmlesion.files import is_file_name

#: Official names of ``Train_Val_Test``.
SPLITS: dict[str, int] = dict(train=1, val=2, test=3)

#: Official names of ``Coarse_lesion_type`` 1 to 8 (-1: not annotated, all of
#: the training split).
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

#: How far a box may reach over the image's border. The official boxes are the
#: ends of the two diameters plus 5 px, not clipped: of 29,073 official rows 8
#: reach over it, by at most 6.5 px.
BORDER_SLACK_PX = 10.0

#: Least distance of slices; the official file has 0.25 mm and more (and negative and
#: missing values, with which the key slice is repeated).
LEAST_INTERVAL_MM = 0.05

#: The columns that are read; the official file has seven more.
COLUMNS = (
    'File_name',
    'Patient_index',
    'Key_slice_index',
    'Bounding_boxes',
    'Lesion_diameters_Pixel_',
    'Coarse_lesion_type',
    'Possibly_noisy',
    'Slice_range',
    'Spacing_mm_px_',
    'Image_size',
    'Train_Val_Test',
)

#: Column of the ends of the two diameters, which is read where it is present.
RECIST_COLUMN = 'Measurement_coordinates'

_FILE_NAME = re.compile(r'(?P<series>[^/\\]+)_(?P<slice>\d+)\.png')


@dataclass(frozen=True)
class LesionRow:
    """One row of ``DL_info.csv``: one lesion on one key slice.

    Attributes:
        row (int): Line of the file, the header being row 1.
        file_name (str): Key slice as the csv names it,
            ``<series>_<slice>.png``.
        series (str): Folder of the series, ``<patient>_<study>_<series>``.
        key_slice (int): Number of the key slice.
        patient (int): Patient.
        box_px (tuple[float]): xyxy in 0-based pixels of the PNG (the csv's
            numbers, which are 1-based, minus 1); may reach over the border,
            see ``BORDER_SLACK_PX``.
        diameters_px (tuple[float]): Long and short RECIST diameter.
        lesion_type (int): 1 to 8 (``LESION_TYPES``) or -1.
        noisy (bool): Flagged by the authors as possibly not right.
        slice_range (tuple[int]): First and last slice of the sub-volume.
        spacing_mm (float): Pixel size.
        interval_mm (float): Distance of the slices; NaN if missing.
        image_size (tuple[int]): Width and height in pixels.
        split (int): 1 training, 2 validation, 3 test.
        recist_px (tuple[float], optional): x and y of both ends of the long, then of
            the short diameter, in 0-based pixels of the PNG; None if the csv has no
            column ``Measurement_coordinates``.
    """

    row: int
    file_name: str
    series: str
    key_slice: int
    patient: int
    box_px: tuple[float, float, float, float]
    diameters_px: tuple[float, float]
    lesion_type: int
    noisy: bool
    slice_range: tuple[int, int]
    spacing_mm: float
    interval_mm: float
    image_size: tuple[int, int]
    split: int
    recist_px: tuple[float, ...] | None = None


def read_deeplesion_csv(path: str | os.PathLike) -> list[LesionRow]:
    """Read and check the official csv.

    Args:
        path (str | os.PathLike): ``DL_info.csv``.

    Returns:
        list[LesionRow]: All rows, noisy ones too, in the file's order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If columns are missing, or a row is malformed, or its box
            has no area or lies outside its image by more than
            ``BORDER_SLACK_PX``; names file and row.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'{path}: no such file; expected the official DL_info.csv of DeepLesion'
        )
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            return list(_parse_rows(csv.reader(file), path))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f'{path}: not a csv text file ({error})') from None


def _parse_rows(reader, path: str) -> Iterator[LesionRow]:
    header = next(reader, None)
    if header is None:
        raise ValueError(
            f'{path}: the file is empty; expected the columns ' + ', '.join(COLUMNS)
        )
    header = [name.strip() for name in header]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise ValueError(f'{path}: row 1 lacks the column(s) ' + ', '.join(missing))
    places = {
        name: header.index(name) for name in (*COLUMNS, RECIST_COLUMN) if name in header
    }
    first_of_file: dict[str, LesionRow] = {}
    rows_of_box: dict[tuple, int] = {}
    for cells in reader:
        if not cells:
            continue
        where = f'{path}: row {reader.line_num}'
        if len(cells) != len(header):
            raise ValueError(
                f'{where} has {len(cells)} columns, but the header has {len(header)}'
            )
        fields = {name: cells[place] for name, place in places.items()}
        row = _parse_row(fields, reader.line_num, where)
        first = first_of_file.setdefault(row.file_name, row)
        if (first.split, first.patient) != (row.split, row.patient):
            raise ValueError(
                f'{where} gives {row.file_name} another patient or split than '
                f'row {first.row}'
            )
        box = (row.file_name, row.box_px, row.noisy)
        before = rows_of_box.setdefault(box, row.row)
        if before != row.row:
            # FROC would count the lesion twice
            raise ValueError(
                f'{where} repeats row {before}: the same box on {row.file_name}'
            )
        yield row


def _parse_row(fields: dict[str, str], row: int, where: str) -> LesionRow:
    name = fields['File_name'].strip()
    match = _FILE_NAME.fullmatch(name)
    if match is None:
        raise ValueError(
            f"{where}: File_name must read '<series>_<slice>.png', but is {name!r}"
        )
    if not is_file_name(match['series']):
        raise ValueError(f'{where}: File_name {name!r} names no folder of a series')
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
    spacing = _numbers(fields, 'Spacing_mm_px_', 3, where, nan_allowed=True)
    if not (spacing[0] > 0 and math.isclose(spacing[0], spacing[1], rel_tol=1e-3)):
        raise ValueError(
            f'{where}: Spacing_mm_px_ must give one positive '
            f'pixel size for x and y, but is {spacing[:2]}'
        )
    if 0 < spacing[2] < LEAST_INTERVAL_MM or spacing[2] == math.inf:
        raise ValueError(
            f'{where}: Spacing_mm_px_ must give an interval of slices of '
            f'{LEAST_INTERVAL_MM} mm or more, but is {spacing[2]}'
        )
    split = _number(fields, 'Train_Val_Test', where, int)
    if split not in SPLITS.values():
        raise ValueError(f'{where}: Train_Val_Test must be 1, 2 or 3, but is {split}')
    lesion_type = _number(fields, 'Coarse_lesion_type', where, int)
    if lesion_type != -1 and lesion_type not in LESION_TYPES:
        raise ValueError(
            f'{where}: Coarse_lesion_type must be -1 or 1 to 8, but is {lesion_type}'
        )
    box_px = tuple(value - 1 for value in _numbers(fields, 'Bounding_boxes', 4, where))
    _check_box(box_px, width, height, where)
    recist_px = None
    if fields.get(RECIST_COLUMN, '').strip():
        recist_px = tuple(
            value - 1 for value in _numbers(fields, RECIST_COLUMN, 8, where)
        )
    return LesionRow(
        row=row,
        file_name=name,
        series=match['series'],
        key_slice=key_slice,
        patient=_number(fields, 'Patient_index', where, int),
        box_px=box_px,
        diameters_px=_numbers(fields, 'Lesion_diameters_Pixel_', 2, where),
        lesion_type=lesion_type,
        noisy=_number(fields, 'Possibly_noisy', where, int) > 0,
        slice_range=_numbers(fields, 'Slice_range', 2, where, int),
        spacing_mm=spacing[0],
        interval_mm=spacing[2],
        image_size=(width, height),
        split=split,
        recist_px=recist_px,
    )


def _check_box(box_px: tuple, width: int, height: int, where: str) -> None:
    x1, y1, x2, y2 = box_px
    shown = ', '.join(f'{value + 1:g}' for value in box_px)
    if x2 <= x1 or y2 <= y1:
        raise ValueError(
            f'{where}: the box ({shown}) has no area; expected x1 < x2 and y1 < y2'
        )
    over = max(-x1, -y1, x2 - (width - 1), y2 - (height - 1))
    inside = x1 < width and y1 < height and x2 > 0 and y2 > 0
    if over > BORDER_SLACK_PX or not inside:
        raise ValueError(
            f'{where}: the box ({shown}) lies outside the image '
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
            f'{where}: {name} must hold {count} number(s), but is {fields[name]!r}'
        )
    return tuple(_parse_number(cell, name, where, kind, nan_allowed) for cell in cells)


def _number(fields: dict[str, str], name: str, where: str, kind: type):
    return _numbers(fields, name, 1, where, kind)[0]


def _parse_number(cell: str, name: str, where: str, kind: type, nan_allowed: bool):
    try:
        value = float(cell) if cell or not nan_allowed else math.nan
    except ValueError:
        raise ValueError(
            f'{where}: {name} must be numeric, but holds {cell!r}'
        ) from None
    if not (math.isfinite(value) or nan_allowed) or (
        kind is int and value != int(value)
    ):
        raise ValueError(
            f'{where}: {name} must be '
            + ('an integer' if kind is int else 'finite')
            + f', but holds {cell!r}'
        )
    return kind(value)
