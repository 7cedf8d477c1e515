"""The index of prepared slices: one row a slice."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from mmlesion.files import is_file_name, read_csv_rows, write_csv_rows

#: Name of the index, and of the folders of pixels and of masks beside it.
SLICE_INDEX_NAME = 'slices.csv'
SLICE_FOLDER = 'slices'
MASK_FOLDER = 'slice_masks'


@dataclass(frozen=True)
class SliceRow:
    """One axial slice, cropped.

    ``slices/<series_uid>.slices`` holds its pixels (HU) and, where it shows a
    nodule, ``slice_masks/<series_uid>.slices`` its nodules (0 outside, else the
    nodule's number), both under ``slice_number``.

    Attributes:
        patient: Such as ``LIDC-IDRI-0001``.
        series_uid: Series instance UID.
        slice_number: From the foot, the first one is 0.
        num_nodules: Nodules that two readers agree on; 0 where nobody
            marked any.
        spacing_y_mm, spacing_x_mm: Pixel size.
        offset_y_px, offset_x_px: The crop's first row and column in the
            series' image; below 0 where the crop reaches out of it.
    """

    patient: str
    series_uid: str
    slice_number: int
    num_nodules: int
    spacing_y_mm: float
    spacing_x_mm: float
    offset_y_px: int
    offset_x_px: int


def write_slice_index(path: str | os.PathLike, rows: Sequence[SliceRow]) -> None:
    """Write the index, all of it or nothing.

    Args:
        path: The csv; replaced if it exists.
        rows: The slices.

    Raises:
        OSError: If it cannot be written.
    """
    write_csv_rows(path, SliceRow, rows)


def read_slice_index(path: str | os.PathLike) -> list[SliceRow]:
    """Read and check the index.

    Args:
        path: A file of :func:`write_slice_index`.

    Returns:
        The slices, in the file's order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: On missing columns, a malformed row, a slice that is there
            twice, or a series of two patients; names the row (the header is
            row 1).
    """
    rows = read_csv_rows(
        path, SliceRow, 'slices', 'tools/prepare_data.py lidc-slices', _find_wrong
    )
    seen: dict[tuple, int] = {}
    patient_of: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        first = seen.setdefault((row.series_uid, row.slice_number), number)
        if first != number:
            raise ValueError(
                f'{path}: row {number}: slice {row.slice_number} of '
                f'series {row.series_uid} is in row {first} already'
            )
        patient = patient_of.setdefault(row.series_uid, row.patient)
        if patient != row.patient:
            raise ValueError(
                f'{path}: row {number}: series {row.series_uid} is of '
                f'{row.patient} here, but of {patient} above'
            )
    return rows


def _find_wrong(row: SliceRow) -> str | None:
    if row.slice_number < 0 or row.num_nodules < 0:
        return (
            'slice_number and num_nodules must be 0 or more, but are '
            f'{row.slice_number} and {row.num_nodules}'
        )
    if not (row.spacing_y_mm > 0 and row.spacing_x_mm > 0):
        return (
            'spacing_y_mm and spacing_x_mm must be positive, but are '
            f'{row.spacing_y_mm} and {row.spacing_x_mm}'
        )
    if not is_file_name(row.series_uid):
        return f'series_uid must be a name of a file, but is {row.series_uid!r}'
    if not row.patient:
        return 'patient is empty'
    return None
