"""Index of prepared slices, with one row per slice."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from mmlesion.files import is_file_name, read_csv_rows, write_csv_rows

#: File name of the index. The folders of slices and masks are next to it.
SLICE_INDEX_NAME = 'slices.csv'
SLICE_FOLDER = 'slices'
MASK_FOLDER = 'slice_masks'


@dataclass(frozen=True)
class SliceRow:
    """One cropped axial slice.

    ``slices/<series_uid>.slices`` contains its pixels (HU). If the slice has a nodule,
    ``slice_masks/<series_uid>.slices`` contains its mask (0 outside, otherwise the
    number of the nodule). Both are stored under ``slice_number``.

    Attributes:
        patient: Patient identifier such as ``LIDC-IDRI-0001``.
        series_uid: Series instance UID.
        slice_number: Index of the slice, with 0 at the feet.
        num_nodules: Number of nodules that at least two readers outlined; 0 if no
            reader marked a nodule.
        spacing_y_mm, spacing_x_mm: Pixel size.
        offset_y_px, offset_x_px: First row and column of the crop in the image of the
            series; negative if the crop extends beyond the image.
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
    """Write the index atomically.

    Args:
        path: Output csv file; replaced if it exists.
        rows: The slices.

    Raises:
        OSError: If the file cannot be written.
    """
    write_csv_rows(path, SliceRow, rows)


def read_slice_index(path: str | os.PathLike) -> list[SliceRow]:
    """Read and check the index.

    Args:
        path: A file written by :func:`write_slice_index`.

    Returns:
        The slices in the order of the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If columns are missing, a row is malformed, a slice is repeated, or
            a series has two patients. The message names the row (the header is row 1).
    """
    rows = read_csv_rows(
        path, SliceRow, 'slices', 'mmlesion prepare lidc-slices', _find_wrong
    )
    seen: dict[tuple, int] = {}
    patient_of: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        first = seen.setdefault((row.series_uid, row.slice_number), number)
        if first != number:
            raise ValueError(
                f'{path}: row {number}: slice {row.slice_number} of '
                f'series {row.series_uid} is already in row {first}'
            )
        patient = patient_of.setdefault(row.series_uid, row.patient)
        if patient != row.patient:
            raise ValueError(
                f'{path}: row {number}: series {row.series_uid} belongs to '
                f'{row.patient}, but to {patient} in an earlier row'
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
        return f'series_uid must be a valid file name, but is {row.series_uid!r}'
    if not row.patient:
        return 'patient is empty'
    return None
