"""Reader and writer of the official index of DeepLesion, ``DL_info.csv``."""

import csv
import math
import os
from collections.abc import Iterable, Iterator

from mmlesion.ct.deeplesion_columns import DL_INFO_COLUMNS
from mmlesion.files import write_csv_table

from .deeplesion_row import (
    KeySliceRow,
    LesionRow,
    parse_key_slice,
    parse_lesion_row,
)

#: Required columns.
REQUIRED_COLUMNS = (
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
#: Columns of a list of key slices without lesions, all of them required.
BACKGROUND_COLUMNS = (
    'File_name',
    'Patient_index',
    'Key_slice_index',
    'Slice_range',
    'Spacing_mm_px_',
    'Image_size',
    'Train_Val_Test',
)


def read_deeplesion_csv(path: str | os.PathLike) -> list[LesionRow]:
    """Read and check the official csv file.

    Args:
        path: ``DL_info.csv``.

    Returns:
        All rows, including the noisy ones, in the order of the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If columns are missing, a row is malformed, or a box has no area or
            extends beyond its image by more than ``BORDER_SLACK_PX``. The message names
            the file and the row.
    """
    path = os.fspath(path)
    return check_lesion_rows(
        (parse_lesion_row(fields, number, where), where)
        for fields, number, where in _read_cells(path, REQUIRED_COLUMNS)
    )


def check_lesion_rows(rows: Iterable[tuple[LesionRow, str]]) -> list[LesionRow]:
    """Check rows against each other.

    Args:
        rows: Each row with its place, for error messages.

    Returns:
        The rows.

    Raises:
        ValueError: If a box is repeated, or a key slice has two patients or splits.
    """
    first_of_file: dict[str, tuple[LesionRow, str]] = {}
    row_of_box: dict[tuple, tuple[LesionRow, str]] = {}
    found = []
    for row, where in rows:
        place = where.rpartition(': ')[2]  # without the name of the file
        first, first_place = first_of_file.setdefault(row.file_name, (row, place))
        if (first.split, first.patient) != (row.split, row.patient):
            raise ValueError(
                f'{where} gives {row.file_name} another patient or split than '
                f'{first_place}'
            )
        box = (row.file_name, row.box_px, row.noisy)
        before, before_place = row_of_box.setdefault(box, (row, place))
        if before is not row:
            # FROC would count the lesion twice.
            raise ValueError(
                f'{where} repeats {before_place}: the same box on {row.file_name}'
            )
        found.append(row)
    return found


def read_background_csv(path: str | os.PathLike) -> list[KeySliceRow]:
    """Read and check a list of key slices without lesions.

    Args:
        path: A csv with :data:`BACKGROUND_COLUMNS`, named and written as in
            ``DL_info.csv``.

    Returns:
        The key slices in the order of the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If columns are missing, a row is malformed or a key slice is
            repeated. The message names the file and the row.
    """
    path = os.fspath(path)
    rows: dict[str, KeySliceRow] = {}
    for fields, number, where in _read_cells(path, BACKGROUND_COLUMNS):
        row = parse_key_slice(fields, number, where)
        before = rows.setdefault(row.file_name, row)
        if before is not row:
            raise ValueError(f'{where} repeats row {before.row}: {row.file_name}')
    return list(rows.values())


def _read_cells(
    path: str, required: tuple[str, ...]
) -> Iterator[tuple[dict[str, str], int, str]]:
    """Yield the cells, the number and the name of the rows of a csv file."""
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'{path}: no such file; expected a csv with the columns '
            + ', '.join(required)
            + (' (DL_info.csv of DeepLesion)' if required == REQUIRED_COLUMNS else '')
        )
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            yield from _parse_rows(csv.reader(file), path, required)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f'{path}: not a csv text file ({error})') from None


def _parse_rows(
    reader, path: str, required: tuple[str, ...]
) -> Iterator[tuple[dict[str, str], int, str]]:
    header = next(reader, None)
    if header is None:
        raise ValueError(
            f'{path}: the file is empty; expected the columns ' + ', '.join(required)
        )
    header = [name.strip() for name in header]
    missing = [name for name in required if name not in header]
    if missing:
        raise ValueError(f'{path}: row 1: missing column(s) ' + ', '.join(missing))
    places = {name: header.index(name) for name in DL_INFO_COLUMNS if name in header}
    for cells in reader:
        if not cells:
            continue
        where = f'{path}: row {reader.line_num}'
        if len(cells) != len(header):
            raise ValueError(
                f'{where} has {len(cells)} columns, but the header has {len(header)}'
            )
        fields = {name: cells[place] for name, place in places.items()}
        yield fields, reader.line_num, where


def write_deeplesion_csv(path: str | os.PathLike, rows: Iterable[LesionRow]) -> None:
    """Write rows in the format of the official csv file, atomically.

    All 18 columns are written. The rows of the official file reproduce the official
    file byte by byte. Numbers have up to ten digits.

    Args:
        path: Output csv file; replaced if it exists.
        rows: Rows in the order of the file. ``row`` is not written.

    Raises:
        OSError: If the file cannot be written.
    """
    write_csv_table(path, DL_INFO_COLUMNS, map(lesion_cells, rows))


def write_background_csv(path: str | os.PathLike, rows: Iterable[KeySliceRow]) -> None:
    """Write a list of key slices without lesions, atomically.

    Args:
        path: Output csv file with :data:`BACKGROUND_COLUMNS`; replaced if it exists.
        rows: Key slices in the order of the file. ``row`` is not written.

    Raises:
        OSError: If the file cannot be written.
    """
    write_csv_table(path, BACKGROUND_COLUMNS, map(_key_slice_cells, rows))


def _key_slice_cells(row: KeySliceRow) -> dict[str, str]:
    return dict(
        File_name=row.file_name,
        Patient_index=_cell(row.patient),
        Key_slice_index=_cell(row.key_slice),
        Slice_range=_cell(row.slice_range),
        Spacing_mm_px_=_cell((row.spacing_mm, row.spacing_mm, row.interval_mm)),
        Image_size=_cell(row.image_size),
        Train_Val_Test=_cell(row.split),
    )


def lesion_cells(row: LesionRow) -> dict[str, str]:
    """Return the text of the cells of a row by column, as in the official file."""
    return dict(
        **_key_slice_cells(row),
        Study_index=_cell(row.study),
        Series_ID=_cell(row.series_id),
        Measurement_coordinates=_cell(
            row.recist_px and [value + 0.5 for value in row.recist_px]
        ),
        Bounding_boxes=_cell(_first_and_last_pixel(row.box_px)),
        Lesion_diameters_Pixel_=_cell(row.diameters_px),
        Normalized_lesion_location=_cell(row.location),
        Coarse_lesion_type=_cell(row.lesion_type),
        Possibly_noisy=_cell(int(row.noisy)),
        DICOM_windows=_cell(row.window_hu),
        Patient_gender=row.sex or '',
        Patient_age=_cell(math.nan if row.age_years is None else row.age_years),
    )


def _first_and_last_pixel(box_px: tuple[float, float, float, float]) -> list[float]:
    """Return the first and the last pixel of a box, counted from 1."""
    x1, y1, x2, y2 = box_px
    return [x1 + 1, y1 + 1, x2, y2]


def _cell(values) -> str:
    """Format a number, several numbers or None as in the official csv file."""
    if values is None:
        return ''
    if not isinstance(values, (tuple, list)):
        values = [values]
    return ', '.join(
        'NaN' if math.isnan(value) else f'{value:.10g}' for value in values
    )
