"""Evaluation of the findings of many scans against a list of lesions."""

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmlesion.ct import VoxelGrid
from mmlesion.evaluation.functional import FROC3D, LUNA16_FPS, froc_3d
from mmlesion.files import read_text

from .finding import Finding, ScanResult
from .many_scans import FINDINGS_FILE
from .steps.scan_step import SIGNS_STEP

_CENTER = ('center_x_mm', 'center_y_mm', 'center_z_mm')
_BOX = ('lower_i', 'lower_j', 'lower_k', 'upper_i', 'upper_j', 'upper_k')
#: Column names in the annotations of LUNA16, and the names used here.
_LUNA16 = dict(
    seriesuid='scan',
    coordX='center_x_mm',
    coordY='center_y_mm',
    coordZ='center_z_mm',
    diameter_mm='long_diameter_mm',
)

#: Diameter in LUNA16's evaluation script of an excluded finding without a diameter.
_UNKNOWN_DIAMETER_MM = 10.0


@dataclass
class TruthScan:
    """Lesions of one scan.

    Attributes:
        centers: (x, y, z, radius) of each lesion in mm, LPS.
        boxes: Box of each lesion in voxels of the file, (lower i, j, k, upper i, j,
            k) with outer edges; empty if the list has no boxes.
        excluded: Whether a lesion does not count.
    """

    centers: list[tuple[float, ...]] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    excluded: list[bool] = field(default_factory=list)


def read_truth(
    path: str | os.PathLike[str], excluded_path: str | os.PathLike[str] | None = None
) -> dict[str, TruthScan]:
    """Read a list of lesions.

    Columns: ``scan``; ``center_x_mm``, ``center_y_mm``, ``center_z_mm`` (DICOM's
    coordinates, LPS) and ``long_diameter_mm``, or the names of LUNA16's annotations
    (``seriesuid``, ``coordX``, ``coordY``, ``coordZ``, ``diameter_mm``). Optional:
    ``lower_i`` ... ``upper_k``, the box in voxels of the file with outer edges, and
    ``excluded``, 1 for a lesion that does not count. A row without a position
    denotes a scan without lesions. Other columns are ignored.

    Args:
        path: The csv.
        excluded_path: A second csv of lesions that do not count, such as LUNA16's
            ``annotations_excluded.csv``. A negative diameter means 10 mm there, as in
            the evaluation script of LUNA16.

    Returns:
        Lesions by scan.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If a column is missing or a cell is not a number. The message names
            the row.
    """
    scans: dict[str, TruthScan] = {}
    _add_lesions(scans, os.fspath(path), excluded=False)
    if excluded_path is not None:
        _add_lesions(scans, os.fspath(excluded_path), excluded=True)
    return scans


def _add_lesions(scans: dict[str, TruthScan], path: str, excluded: bool) -> None:
    """Add the lesions of a csv to the lesions of each scan."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such file; expected a list of lesions')
    reader = csv.DictReader(io.StringIO(read_text(path), newline=''), strict=True)
    try:
        columns = [_LUNA16.get(name, name) for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        for name in ('scan', *_CENTER, 'long_diameter_mm'):
            if name not in columns:
                raise ValueError(
                    f'{path}: column {name} is missing; expected scan, '
                    f'{", ".join(_CENTER)} and long_diameter_mm'
                )
        rows = [(row, f'{path}: row {reader.line_num}') for row in reader]
    except csv.Error as error:
        raise ValueError(f'{path}: the file is not a csv file ({error})') from None
    if not rows:
        raise ValueError(f'{path}: the list is empty')
    for row, where in rows:
        _add_lesion(scans, row, where, excluded)


def _add_lesion(
    scans: dict[str, TruthScan], row: dict[str, str], where: str, excluded: bool
) -> None:
    """Add the lesion of a row to the lesions of its scan."""
    if None in row or None in row.values():
        raise ValueError(f'{where}: expected one cell per column')
    name = row['scan'].strip()
    if not name:
        raise ValueError(f'{where}: scan is empty')
    scan = scans.setdefault(name, TruthScan())
    if not any(row[name].strip() for name in _CENTER):
        return
    center = [_number(row, name, where) for name in _CENTER]
    diameter = _number(row, 'long_diameter_mm', where)
    if excluded and diameter < 0:
        diameter = _UNKNOWN_DIAMETER_MM
    if diameter <= 0:
        raise ValueError(f'{where}: long_diameter_mm must be positive')
    scan.centers.append((*center, diameter / 2))
    if all(name in row for name in _BOX):
        box = tuple(_number(row, name, where) for name in _BOX)
        if any(low >= high for low, high in zip(box[:3], box[3:])):
            raise ValueError(
                f'{where}: the lower corner {box[:3]} of the box must be below the '
                f'upper corner {box[3:]}'
            )
        scan.boxes.append(box)
    flag = row.get('excluded', '').strip() or '0'
    if flag not in ('0', '1'):
        raise ValueError(f'{where}: excluded must be 0 or 1, but is {flag!r}')
    scan.excluded.append(excluded or flag == '1')


def read_results(folder: str | os.PathLike[str]) -> dict[str, ScanResult]:
    """Read the findings of all scans of a folder.

    Args:
        folder: Folder of a run over many scans.

    Returns:
        Results by the name of their folder.

    Raises:
        ValueError: If the folder contains no findings or a file cannot be read.
    """
    paths = sorted(Path(folder).glob(f'*/{FINDINGS_FILE}'))
    if not paths:
        raise ValueError(f'{folder}: no folder with {FINDINGS_FILE} was found')
    results = {}
    for path in paths:
        try:
            content = json.loads(path.read_bytes(), parse_constant=_no_number)
            results[path.parent.name] = ScanResult.from_dict(content)
        except (ValueError, RecursionError) as error:
            raise ValueError(f'{path}: {error}') from None
    return results


def truth_by_result(
    results: dict[str, ScanResult],
    truth: dict[str, TruthScan],
    unlisted_are_empty: bool = False,
) -> dict[str, TruthScan]:
    """Assign the lesions of a list to results, by name or series UID.

    Args:
        results: From :func:`read_results`.
        truth: From :func:`read_truth`.
        unlisted_are_empty: Treat results whose scan is not in the list as scans
            without lesions. By default, they are an error.

    Returns:
        Lesions of each result, by its name.

    Raises:
        ValueError: If a scan of the list does not have exactly one result, or a result
            is not in the list.
    """
    by_scan: dict[str, TruthScan] = {}
    for scan, lesions in truth.items():
        names = [
            name for name, each in results.items() if scan in (name, each.series_uid)
        ]
        if len(names) != 1:
            raise ValueError(
                f'scan {scan} of the list has {len(names)} results, expected one'
            )
        # The list of excluded lesions may name the same scan differently
        known = by_scan.setdefault(names[0], TruthScan())
        known.centers += lesions.centers
        known.boxes += lesions.boxes
        known.excluded += lesions.excluded
    unlisted = sorted(set(results) - set(by_scan))
    if unlisted and not unlisted_are_empty:
        raise ValueError(
            f'{len(unlisted)} results belong to scans that are not in the list, such '
            f'as {unlisted[0]}; add a row with empty positions for a scan without '
            'lesions'
        )
    return {name: by_scan.get(name, TruthScan()) for name in results}


def evaluate_results(
    results: dict[str, ScanResult],
    truth: dict[str, TruthScan],
    rule: str = 'center',
    iou_thr: float = 0.1,
    unlisted_are_empty: bool = False,
    best_slice_only: bool = False,
    fps: Sequence[float] = LUNA16_FPS,
    num_resamples: int = 1000,
    seed: int = 0,
) -> FROC3D:
    """Compute the FROC curve of findings against a list of lesions.

    A scan of the list belongs to the result with this name or series UID.

    Args:
        results: From :func:`read_results`.
        truth: From :func:`read_truth`.
        rule: ``'center'`` (LUNA16) or ``'iou'`` of the boxes in voxels.
        iou_thr: Smallest IoU of a hit.
        unlisted_are_empty: Treat results whose scan is not in the list as scans
            without lesions. By default, they are an error.
        best_slice_only: Use the box of the best slice instead of the 3-D box, which
            shows the effect of linking.
        fps: False positives per scan at which to read the sensitivity.
        num_resamples: Bootstrap resamples of scans.
        seed: Random seed of the bootstrap.

    Raises:
        ValueError: If a scan of the list has no result, a result is not in the
            list, or the list has no boxes for ``'iou'``.
    """
    by_scan = truth_by_result(results, truth, unlisted_are_empty)
    if rule not in ('center', 'iou'):
        raise ValueError(f"a csv needs rule 'center' or 'iou', but got {rule!r}")
    lesions = list(by_scan.values())
    if rule == 'iou' and any(len(each.boxes) != len(each.centers) for each in lesions):
        raise ValueError("the list has no boxes, which rule 'iou' needs")

    def place(finding: Finding, grid: VoxelGrid) -> tuple[float, ...]:
        box, center = finding.box, finding.center_mm
        if best_slice_only:
            box = max(finding.slices, key=lambda each: each.score).box
            center = tuple(grid.index_to_world(box.center).tolist())
        return (*box.lower, *box.upper) if rule == 'iou' else center

    found = {name: lesion_findings(result) for name, result in results.items()}
    return froc_3d(
        [[place(each, results[name].grid) for each in found[name]] for name in found],
        [[each.score for each in scan] for scan in found.values()],
        [each.boxes if rule == 'iou' else each.centers for each in lesions],
        rule,
        iou_thr,
        [each.excluded for each in lesions],
        fps,
        num_resamples,
        seed=seed,
    )


def lesion_findings(result: ScanResult) -> list[Finding]:
    """Return the findings of the detector, without those of the step FindSigns.

    Args:
        result: Findings of a scan.
    """
    if not result.provenance or result.provenance[0].step == SIGNS_STEP:
        return result.findings
    return [each for each in result.findings if SIGNS_STEP not in each.extras]


def _no_number(name: str) -> float:
    raise ValueError(f'{name} is not a JSON number')


def _number(row: dict[str, str], name: str, where: str) -> float:
    try:
        # Python takes 1_0 and digits of any script
        wrong = '_' in row[name] or not row[name].isascii()
        value = math.nan if wrong else float(row[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f'{where}: {name} must be a number, but is {row[name]!r}')
    return value
