"""Csv list of scans with labels of the whole scan and of lung regions."""

import csv
import os
import os.path as osp
from collections.abc import Sequence
from dataclasses import dataclass, field

from mmlesion.ct import REGIONS
from mmlesion.files import is_file_name, write_csv_table

#: File name of the index of prepared projections.
PROJECTION_INDEX_NAME = 'projections.csv'
SCAN_SPLITS = ('train', 'val', 'test')
_PREPARED = ('folder', 'rotations', 'empty')


@dataclass(frozen=True)
class ScanRow:
    """One scan of the list.

    Attributes:
        scan: DICOM folder or file, relative to the csv.
        patient: Whose.
        disease: 1 or 0; None is not labeled.
        survival: 1 died within two years of the scan, 0 did not; None
            is not known or not of this task.
        signs: For each sign the labels of those lung regions that have one.
        split: ``'train'``, ``'val'``, ``'test'``, or '' where the csv does not
            say.
        folder: Folder of the projections; '' before preparing.
        rotations: How many there are of each.
        empty: Areas without lung.
        cells: Text of the row.
    """

    scan: str
    patient: str
    disease: int | None
    survival: int | None
    signs: dict[str, dict[str, int]]
    split: str = ''
    folder: str = ''
    rotations: int = 0
    empty: tuple[str, ...] = ()
    cells: dict[str, str] = field(default_factory=dict, repr=False)


def projection_path(folder: str, area: str, view: str, rotation: int) -> str:
    """Return the file of a projection.

    Args:
        folder: Folder of the scan.
        area: ``'whole'`` or one of :data:`mmlesion.ct.REGIONS`.
        view: One of :data:`mmlesion.ct.VIEWS`.
        rotation: Index in :data:`mmlesion.ct.ROTATIONS_DEG`.

    Returns:
        The path of a PNG file.
    """
    return osp.join(folder, f'{area}_{view}_{rotation:02d}.png')


def read_scan_list(path: str | os.PathLike, prepared: bool = False) -> list[ScanRow]:
    """Read the list of scans.

    Columns: ``scan``, ``patient``, ``disease`` and ``survival`` (0, 1 or empty), for
    each sign the six lung regions ``left_upper_<sign>`` and so on (0, 1 or empty),
    and optionally ``split``. Other columns are ignored.

    Args:
        path: The csv file.
        prepared: Whether the file is an index of projections, which also has the
            columns ``folder``, ``rotations`` and ``empty``.

    Returns:
        The scans in the order of the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If columns are missing, a row is malformed, a scan is repeated or
            a patient is in two splits. The message names the row (the header is row 1).
    """
    path = os.fspath(path)
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'{path}: no such file'
            + (
                '; create it with mmlesion prepare signs'
                if prepared
                else '; expected a list of scans'
            )
        )
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file, strict=True)
            names = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            signs = _check_columns(names, path, prepared)
            rows = [
                _parse_row(cells, signs, f'{path}: row {reader.line_num}')
                for cells in reader
            ]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f'{path}: the file is not a csv file ({error})') from None
    if not rows:
        raise ValueError(f'{path}: the file has no rows; expected one row per scan')
    _check_unique(rows, path)
    return rows


def write_projection_index(path: str | os.PathLike, rows: Sequence[ScanRow]) -> None:
    """Write the index of prepared scans atomically.

    Args:
        path: Output csv file; replaced if it exists.
        rows: The scans with their folders.

    Raises:
        OSError: If the file cannot be written.
    """
    columns = [name for name in rows[0].cells if name not in _PREPARED]
    write_csv_table(
        path,
        [*columns, *_PREPARED],
        (
            dict(
                {name: row.cells[name] for name in columns},
                folder=row.folder,
                rotations=row.rotations,
                empty=' '.join(row.empty),
            )
            for row in rows
        ),
    )


def _check_columns(names: list[str], path: str, prepared: bool) -> list[str]:
    """Check the columns and return the signs."""
    needed = [
        'scan',
        'patient',
        'disease',
        'survival',
        *(_PREPARED if prepared else ()),
    ]
    found = [
        name.removeprefix(f'{region}_')
        for name in names
        for region in REGIONS
        if name.startswith(f'{region}_')
    ]
    signs = list(dict.fromkeys(found))
    needed += [f'{region}_{sign}' for sign in signs for region in REGIONS]
    absent = [name for name in needed if name not in names]
    if absent:
        raise ValueError(
            f'{path}: column {absent[0]!r} is missing; expected '
            'scan, patient, disease, survival and, for each sign, '
            f'the columns of {", ".join(REGIONS)}'
        )
    return signs


def _parse_row(cells: dict, signs: list[str], where: str) -> ScanRow:
    if None in cells or None in cells.values():
        raise ValueError(f'{where}: expected one cell per column')
    cells = {name: cell.strip() for name, cell in cells.items()}
    for name in ('scan', 'patient'):
        if not cells[name]:
            raise ValueError(f'{where}: {name} is empty')
    labels = {
        sign: {region: _label(cells, f'{region}_{sign}', where) for region in REGIONS}
        for sign in signs
    }
    split = cells.get('split', '')
    if split not in ('', *SCAN_SPLITS):
        raise ValueError(
            f'{where}: split must be one of {", ".join(SCAN_SPLITS)} or empty, '
            f'but is {split!r}'
        )
    rotations = cells.get('rotations', '0')
    if not rotations.isdigit():
        raise ValueError(f'{where}: rotations must be a number, but is {rotations!r}')
    if 'folder' in cells and not all(map(is_file_name, cells['folder'].split('/'))):
        raise ValueError(
            f'{where}: folder must be a folder below that of the csv file, but is '
            f'{cells["folder"]!r}'
        )
    return ScanRow(
        scan=cells['scan'],
        patient=cells['patient'],
        disease=_label(cells, 'disease', where),
        survival=_label(cells, 'survival', where),
        signs={
            sign: {region: label for region, label in of.items() if label is not None}
            for sign, of in labels.items()
        },
        split=split,
        folder=cells.get('folder', ''),
        rotations=int(rotations),
        empty=tuple(cells.get('empty', '').split()),
        cells=cells,
    )


def _label(cells: dict[str, str], name: str, where: str) -> int | None:
    if cells[name] not in ('', '0', '1'):
        raise ValueError(
            f'{where}: {name} must be 0, 1 or empty, but is {cells[name]!r}'
        )
    return int(cells[name]) if cells[name] else None


def _check_unique(rows: list[ScanRow], path: str) -> None:
    scans: dict[str, int] = {}
    splits: dict[str, tuple[int, str]] = {}
    for number, row in enumerate(rows, 2):
        first = scans.setdefault(osp.normpath(row.scan), number)
        if first != number:
            raise ValueError(
                f'{path}: row {number}: scan {row.scan} is already in row {first}'
            )
        before, split = splits.setdefault(row.patient, (number, row.split))
        if split != row.split:
            raise ValueError(
                f'{path}: row {number}: patient {row.patient} is in split '
                f'{row.split!r}, but in split {split!r} in row {before}; a patient '
                'may be in only one split'
            )
    if any(row.split for row in rows) and not all(row.split for row in rows):
        number = [bool(row.split) for row in rows].index(False) + 2
        raise ValueError(
            f'{path}: row {number}: split is empty, but other rows have a '
            'split; expected a split in all rows or in none'
        )
