"""Reader of the lesions of whole scans from a csv or COCO JSON."""

import csv
import math
import os
import os.path as osp
import re
from dataclasses import dataclass

from mmlesion.ct import as_scan_slice

from .coco import read_coco, xyxy

#: Columns of a box in a csv: the first and last voxel (inclusive, from 0) along the
#: three axes of the file.
CORNER_COLUMNS = ('i1', 'j1', 'k1', 'i2', 'j2', 'k2')

_SPLITS = ('train', 'val', 'test')


@dataclass(frozen=True)
class VoxelBox:
    """Box of a lesion in voxels of the file.

    Attributes:
        first: First voxel (i, j, k), from 0.
        last: Last voxel (i, j, k), inclusive.
        where: File and row, for error messages.
    """

    first: tuple[float, float, float]
    last: tuple[float, float, float]
    where: str


@dataclass(frozen=True)
class LesionSliceBox:
    """Box of a lesion in pixels of one axial slice.

    Attributes:
        index: Number of the slice, from 0 at the feet.
        box_px: (x1, y1, x2, y2), outer edges in pixels; x increases to the left of
            the patient, y to the back.
        where: File and annotation, for error messages.
        image_size: Width and height in pixels that the file states.
    """

    index: int
    box_px: tuple[float, float, float, float]
    where: str
    image_size: tuple[int, int]


@dataclass(frozen=True)
class ScanLesions:
    """The lesions of one scan.

    Attributes:
        scan: Path of the scan.
        where: File and row of the first occurrence of the scan, for error messages.
        patient: Name of the patient.
        split: ``'train'``, ``'val'`` or ``'test'``; None if the file has no split.
        masks: Paths of label files. Each connected region of a label is a lesion.
        boxes: Boxes of lesions.
    """

    scan: str
    where: str
    patient: str
    split: str | None
    masks: tuple[str, ...]
    boxes: tuple[VoxelBox | LesionSliceBox, ...]


def read_scan_lesions(path: str | os.PathLike) -> list[ScanLesions]:
    """Read the lesions of scans.

    A csv has one row per box or mask. Its columns are ``scan`` and either ``mask``
    (a label file) or ``i1, j1, k1, i2, j2, k2`` (:class:`VoxelBox`); ``patient`` (by
    default the scan) and ``split`` are optional. Paths are relative to the csv.

    In COCO JSON, ``file_name`` of an image is ``<scan>#<slice>``
    (:class:`~mmlesion.ct.ScanSlice`) and a box is in pixels of that slice
    (:class:`LesionSliceBox`); ``patient`` and ``split`` of an image are optional.

    Args:
        path: The file. A file name that ends in ``.json`` indicates COCO JSON.

    Returns:
        The scans that have lesions, in the order of the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is malformed or empty. The message names the row.
    """
    path = os.fspath(path)
    rows = _coco_rows(path) if path.lower().endswith('.json') else _csv_rows(path)
    scans: dict[str, dict] = {}
    for row in rows:
        entry = scans.setdefault(row['scan'], dict(row, masks=[], boxes=[]))
        for key in ('patient', 'split'):
            if entry[key] != row[key]:
                raise ValueError(
                    f'{row["where"]}: the {key} of {row["scan"]} is {row[key]!r} here, '
                    f'but {entry[key]!r} in {entry["where"]}'
                )
        if row['mask']:
            entry['masks'].append(row['mask'])
        else:
            entry['boxes'].append(row['box'])
    if not scans:
        raise ValueError(f'{path}: the file contains no lesion')
    _check_patients(scans)
    return [
        ScanLesions(
            scan,
            entry['where'],
            entry['patient'],
            entry['split'],
            tuple(dict.fromkeys(entry['masks'])),
            tuple(entry['boxes']),
        )
        for scan, entry in scans.items()
    ]


def _check_patients(scans: dict[str, dict]) -> None:
    """Check that all scans of a patient are in one split."""
    first: dict[str, dict] = {}
    for entry in scans.values():
        known = first.setdefault(entry['patient'], entry)
        if known['split'] != entry['split']:
            raise ValueError(
                f'{entry["where"]}: patient {entry["patient"]!r} is in the splits '
                f'{known["split"]!r} and {entry["split"]!r}; expected one split for '
                'each patient'
            )


def _csv_rows(path: str) -> list[dict]:
    if not osp.isfile(path):
        raise FileNotFoundError(f'{path}: no such file; expected a csv of lesions')
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or ()
            boxes = set(CORNER_COLUMNS) <= set(columns)
            if 'scan' not in columns or not (boxes or 'mask' in columns):
                raise ValueError(
                    f"{path}: expected the columns 'scan' and 'mask', or 'scan' and "
                    f'{", ".join(CORNER_COLUMNS)}, but found {", ".join(columns)}'
                )
            return [
                _csv_row(cells, osp.dirname(path), f'{path}: row {reader.line_num}')
                for cells in reader
            ]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f'{path}: the file is not a csv file ({error})') from None


def _csv_row(cells: dict, folder: str, where: str) -> dict:
    if None in cells or None in cells.values():
        raise ValueError(f'{where}: expected one cell per column')
    cells = {key: cell.strip() for key, cell in cells.items()}
    if not cells['scan']:
        raise ValueError(f'{where}: the cell scan is empty')
    mask = cells.get('mask', '')
    given = [cells.get(name, '') for name in CORNER_COLUMNS]
    if bool(mask) == any(given):
        raise ValueError(
            f'{where}: expected either a mask or a box ({", ".join(CORNER_COLUMNS)})'
        )
    return dict(
        scan=osp.normpath(osp.join(folder, cells['scan'])),
        where=where,
        patient=cells.get('patient') or osp.normpath(cells['scan']),
        split=_split(cells.get('split') or None, where),
        mask=osp.normpath(osp.join(folder, mask)) if mask else None,
        box=None if mask else _voxel_box(given, where),
    )


def _voxel_box(given: list[str], where: str) -> VoxelBox:
    numbers = []
    for name, cell in zip(CORNER_COLUMNS, given):
        if not re.fullmatch(r'-?\d+(\.\d+)?', cell, re.ASCII):
            raise ValueError(f'{where}: {name} must be a voxel, but is {cell!r}')
        numbers.append(float(cell))
    first, last = numbers[:3], numbers[3:]
    if any(one > other for one, other in zip(first, last)):
        raise ValueError(
            f'{where}: the corners of the box are swapped; expected i1 <= i2, j1 <= '
            'j2 and '
            'k1 <= k2'
        )
    return VoxelBox((*first,), (*last,), where)


def _coco_rows(path: str) -> list[dict]:
    coco = read_coco(path)
    rows = []
    for annotation in coco.annotations:
        where = f'{path}: annotation {annotation["id"]!r}'
        image = coco.images[annotation['image_id']]
        name = str(image.get('file_name'))
        try:
            place = as_scan_slice(osp.join(osp.dirname(path), name))
        except ValueError as error:
            raise ValueError(f'{where}: {error}') from None
        if place is None:
            raise ValueError(
                f"{where}: file_name must be '<scan>#<slice>', for example "
                f"'scan.nii.gz#57', but is {name!r}"
            )
        box = xyxy(annotation['bbox'], where)
        if box[2] <= box[0] or box[3] <= box[1] or not math.isfinite(sum(box)):
            raise ValueError(f'{where}: the box has no area')
        scan = osp.normpath(str(place.scan))
        patient = image.get('patient') or osp.normpath(name.rpartition('#')[0])
        rows.append(
            dict(
                scan=scan,
                where=where,
                patient=str(patient),
                split=_split(image.get('split'), where),
                mask=None,
                box=LesionSliceBox(
                    place.index, box, where, (image['width'], image['height'])
                ),
            )
        )
    return rows


def _split(name: object, where: str) -> str | None:
    if name is None:
        return None
    if name not in _SPLITS:
        raise ValueError(f'{where}: split must be train, val or test, but is {name!r}')
    return str(name)
