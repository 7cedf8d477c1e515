"""The index of prepared nodules: one row a nodule."""
import csv
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from mmlesion.ct import PARTIAL_SUFFIX

#: Name of the index, and of the folder of patches beside it.
INDEX_NAME = 'nodules.csv'
PATCH_FOLDER = 'patches'


@dataclass(frozen=True)
class NoduleRow:
    """One labelled nodule.

    Attributes:
        nodule_id (str): Unique; ``patches/<nodule_id>.slices`` is its file.
        patient (str): Such as ``LIDC-IDRI-0001``.
        series_uid (str): Series instance UID.
        label (int): 0 benign, 1 malignant.
        malignancy (float): Mean over the readers, 1 to 5.
        num_readers (int): Readers that drew it.
        diameter_mm (float): Equivalent diameter of the consensus.
        outside (float): Share of the 21-slice block outside of the image.
        subtlety, internal_structure, ...: Means over the readers.
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


#: The eight ratings beside malignancy, in the order of the official XML.
ATTRIBUTES = tuple(one.name for one in fields(NoduleRow))[-8:]


def write_nodule_index(path: str | os.PathLike,
                       rows: Sequence[NoduleRow]) -> None:
    """Write the index, all of it or nothing.

    Args:
        path (str | os.PathLike): The csv; replaced if it exists.
        rows (Sequence[NoduleRow]): The nodules.

    Raises:
        OSError: If it cannot be written.
    """
    path = os.fspath(path)
    descriptor, partial = tempfile.mkstemp(
        PARTIAL_SUFFIX, os.path.basename(path) + '.', os.path.dirname(path) or '.')
    try:
        with open(descriptor, 'w', newline='', encoding='utf-8') as file:
            os.chmod(partial, 0o644)  # mkstemp hides the file from others
            writer = csv.DictWriter(file, [one.name for one in fields(NoduleRow)],
                                    lineterminator='\n')
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.remove(partial)
        raise


def read_nodule_index(path: str | os.PathLike) -> list[NoduleRow]:
    """Read and check the index.

    Args:
        path (str | os.PathLike): A file of :func:`write_nodule_index`.

    Returns:
        list[NoduleRow]: The nodules, in the file's order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: On missing columns, a malformed row or a nodule that is
            there twice; names the row (the header is row 1).
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'{path}: no such file; make it by tools/prepare_data.py lidc')
    try:
        with open(path, newline='', encoding='utf-8') as file:
            reader = csv.DictReader(file, strict=True)
            absent = [one.name for one in fields(NoduleRow)
                      if one.name not in (reader.fieldnames or ())]
            if absent:
                raise ValueError(f'{path}: expected an index of nodules, but '
                                 'there is no column ' + ', '.join(absent))
            rows = [_parse_row(cells, f'{path}: row {reader.line_num}')
                    for cells in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f'{path}: the file is no csv ({error})') from None
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        first = seen.setdefault(row.nodule_id, number)
        if first != number:
            raise ValueError(f'{path}: row {number}: nodule {row.nodule_id} is '
                             f'in row {first} already')
    return rows


def _parse_row(cells: dict[str, str], where: str) -> NoduleRow:
    values = {}
    for one in fields(NoduleRow):
        cell = cells[one.name]
        try:
            values[one.name] = one.type(cell)
        except (TypeError, ValueError):
            raise ValueError(f'{where}: {one.name} must be of type '
                             f'{one.type.__name__}, but is {cell!r}') from None
        if one.type is float and not math.isfinite(values[one.name]):
            raise ValueError(f'{where}: {one.name} must be finite, but is '
                             f'{cell!r}')
    row = NoduleRow(**values)
    if row.label not in (0, 1):
        raise ValueError(f'{where}: label must be 0 (benign) or 1 (malignant), '
                         f'but is {row.label}')
    if not row.diameter_mm > 0:
        raise ValueError(f'{where}: diameter_mm must be positive, but is '
                         f'{row.diameter_mm}')
    if not row.nodule_id or os.path.basename(row.nodule_id) != row.nodule_id:
        raise ValueError(f'{where}: nodule_id must be a name without folders, '
                         f'but is {row.nodule_id!r}')
    return row
