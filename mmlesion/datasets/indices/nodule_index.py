"""Index of prepared nodules, with one row per nodule."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields

from mmlesion.files import is_file_name, read_csv_rows, write_csv_rows

#: File name of the index. The folder of patches is next to it.
NODULE_INDEX_NAME = 'nodules.csv'
PATCH_FOLDER = 'patches'


@dataclass(frozen=True)
class NoduleRow:
    """Row of one nodule.

    Attributes:
        nodule_id: Unique name. The file is ``patches/<nodule_id>.slices``.
        patient: Patient, such as ``LIDC-IDRI-0001``.
        series_uid: Series instance UID.
        label: 0 benign, 1 malignant, -1 undecided (a mean malignancy of 3).
        malignancy: Mean of the readers, 1 to 5.
        num_readers: Number of readers who outlined the nodule.
        diameter_mm: Equivalent diameter of the consensus.
        outside: Share of the 21-slice block outside of the image.
        subtlety, internal_structure, ...: Means of the readers.
        ratings: Malignancy by reader, such as ``'3 4 4'``. Empty in an index of an
            earlier version.
        side: Side of the patches in diameters.
        reach_z_mm, reach_mm: Distances from the middle to the border of the image,
            see :class:`~mmlesion.ct.nodule_patches.NodulePatches`. 0, i.e. not known,
            in an index of an earlier version.
    """

    nodule_id: str
    patient: str
    series_uid: str
    label: int
    malignancy: float
    num_readers: int
    diameter_mm: float
    outside: float
    subtlety: float
    internal_structure: float
    calcification: float
    sphericity: float
    margin: float
    lobulation: float
    spiculation: float
    texture: float
    ratings: str = ''
    side: float = 2.0
    reach_z_mm: float = 0.0
    reach_mm: float = 0.0


#: The eight ratings beside malignancy, in the order of the official XML.
ATTRIBUTES = tuple(one.name for one in fields(NoduleRow))[8:16]


def write_nodule_index(path: str | os.PathLike, rows: Sequence[NoduleRow]) -> None:
    """Write the index atomically.

    Args:
        path: Output csv file; replaced if it exists.
        rows: The nodules.

    Raises:
        OSError: If the file cannot be written.
    """
    write_csv_rows(path, NoduleRow, rows)


def read_nodule_index(path: str | os.PathLike) -> list[NoduleRow]:
    """Read and check the index.

    Args:
        path: A file written by :func:`write_nodule_index`.

    Returns:
        The nodules in the order of the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If columns are missing, a row is malformed or a nodule is repeated.
            The message names the row (the header is row 1).
    """
    rows = read_csv_rows(
        path, NoduleRow, 'nodules', 'mmlesion prepare lidc', _find_wrong
    )
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        first = seen.setdefault(row.nodule_id, number)
        if first != number:
            raise ValueError(
                f'{path}: row {number}: nodule {row.nodule_id} is '
                f'already in row {first}'
            )
    return rows


def _find_wrong(row: NoduleRow) -> str | None:
    if row.label not in (-1, 0, 1):
        return (
            'label must be 0 (benign), 1 (malignant) or -1 (undecided), but is '
            f'{row.label}'
        )
    if not row.diameter_mm > 0:
        return f'diameter_mm must be positive, but is {row.diameter_mm}'
    if not is_file_name(row.nodule_id):
        return f'nodule_id must be a name without folders, but is {row.nodule_id!r}'
    if not row.patient:
        return 'patient is empty'
    if not 1 <= row.malignancy <= 5:
        return f'malignancy must be from 1 to 5, but is {row.malignancy}'
    expected = -1 if row.malignancy == 3 else int(row.malignancy > 3)
    if row.label != expected:
        return (
            'label must be 1 for a malignancy above 3, 0 below and -1 for 3, but is '
            f'{row.label} for {row.malignancy}'
        )
    if row.num_readers < 1 or not 0 <= row.outside <= 1:
        return (
            'num_readers must be 1 or more and outside from 0 to 1, but are '
            f'{row.num_readers} and {row.outside}'
        )
    if not (row.side > 0 and row.reach_z_mm >= 0 and row.reach_mm >= 0):
        return (
            'side must be positive and reach_z_mm and reach_mm at least 0, but are '
            f'{row.side}, {row.reach_z_mm} and {row.reach_mm}'
        )
    for name in ATTRIBUTES:
        top = 6 if name == 'calcification' else 5
        if not 1 <= getattr(row, name) <= top:
            return f'{name} must be from 1 to {top}, but is {getattr(row, name)}'
    return _find_wrong_ratings(row)


def _find_wrong_ratings(row: NoduleRow) -> str | None:
    if not row.ratings:
        return None
    ratings = row.ratings.split(' ')
    if set(ratings) - set('12345') or len(ratings) != row.num_readers:
        return (
            'ratings must hold a malignancy from 1 to 5 of each of the '
            f'{row.num_readers} readers, but is {row.ratings!r}'
        )
    mean = sum(map(int, ratings)) / len(ratings)
    if abs(mean - row.malignancy) > 1e-5:
        return (
            f'malignancy must be the mean of the ratings {row.ratings!r}, but is '
            f'{row.malignancy}'
        )
    return None
