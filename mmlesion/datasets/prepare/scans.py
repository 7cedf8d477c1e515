"""Conversion of scans with boxes or masks to the layout of DeepLesion."""

import contextlib
import json
import math
import os
import os.path as osp
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import skimage.measure
from scipy import ndimage

from mmlesion.ct import (
    CTVolume,
    read_labels,
    read_volume,
    square_pixel_mm,
    write_png_hu,
)
from mmlesion.files import (
    PARTIAL_SUFFIX,
    counted,
    list_files,
    lock_folder,
    path_in,
    run_in_parallel,
    write_json,
    write_problems,
)

from ..sources.deeplesion_csv import write_background_csv, write_deeplesion_csv
from ..sources.deeplesion_row import SPLITS, KeySliceRow, LesionRow, check_box
from ..sources.scan_lesions import (
    LesionSliceBox,
    ScanLesions,
    VoxelBox,
    read_scan_lesions,
)
from .source_notes import is_up_to_date, write_note

_TABLE, _IMAGES, _RECORDS = 'DL_info.csv', 'Images_png', 'scans'
_BACKGROUND = 'background.csv'
_PROBLEMS = 'left_out.txt'
_SHARES = (0.7, 0.15, 0.15)  # of the patients: training, validation, test
_VERSION = 3
# A slice in which the area of a lesion is below this share of its largest area shows
# only the end of the lesion. It is neither a positive nor a negative example.
_LEAST_SHARE = 0.25


@dataclass
class PreparedScans:
    """Summary of :func:`prepare_scans`.

    Attributes:
        lesions: Number of rows of the table.
        background: Number of key slices without a lesion.
        scans: Number of scans in the table.
        already_there: Number of scans that an earlier run completed.
        problems: A sentence for each omitted scan.
    """

    lesions: int = 0
    background: int = 0
    scans: int = 0
    already_there: int = 0
    problems: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Return a one-sentence summary."""
        background = ''
        if self.background:
            background = f' and {counted(self.background, "key slice")} without lesions'
        return (
            f'Prepared {counted(self.lesions, "lesion")}{background} of '
            f'{counted(self.scans, "scan")} ({self.already_there} from an earlier run).'
        )

    def check(self) -> None:
        """Check that all scans were prepared.

        Raises:
            ValueError: If there are problems. The message contains the first one.
        """
        if self.problems:
            omitted = counted(len(self.problems), 'scan')
            raise ValueError(f'{self.problems[0]}; omitted {omitted}, see {_PROBLEMS}')


def prepare_scans(
    table: str,
    out_dir: str | None = None,
    seed: int = 0,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
    every_mm: float | None = None,
    shares: Sequence[float] = _SHARES,
) -> PreparedScans:
    """Write scans with lesions in the layout of DeepLesion.

    The output is ``DL_info.csv`` and ``Images_png/<series>/<slice>.png``, which
    ``DeepLesionDataset`` reads, and ``scans/<series>.json`` with the path of the scan.
    Slices are axial and are numbered from 1 at the head, as in DeepLesion. The key
    slice of a mask is the slice with its largest area, that of a box its middle. Boxes
    have no margin, and the diameters are their sides. Lesions have no type.

    Where the table has no splits, patients are divided at random, by default into 70 %
    training, 15 % validation and 15 % test.

    With ``every_mm``, the scans have further key slices at this distance, as whole-scan
    detection sees them. A key slice has the boxes of all masks that it crosses; slices
    without a lesion are listed in ``background.csv`` (``background_file`` of
    :class:`~mmlesion.datasets.DeepLesionDataset`). Slices that show only the end of a
    lesion (less than 25 % of its largest area) are omitted. This requires masks of
    *all* lesions of the scans.

    A run continues an earlier one, and repeats the scans that have changed. Scans with
    an error are omitted and listed in ``left_out.txt``.

    Args:
        table: A csv or COCO JSON, see
            :func:`~mmlesion.datasets.sources.scan_lesions.read_scan_lesions`.
        out_dir: Output folder. Defaults to the folder of the table.
        seed: Random seed of the division of the patients.
        workers: Number of processes. Defaults to the number of cores.
        overwrite: Prepare all scans again.
        progress: Whether to show a progress bar.
        every_mm: Distance of the further key slices in mm. None means that only the
            slices with the largest area of a lesion are key slices.
        shares: Shares of the patients for training, validation and test.

    Returns:
        What was done.

    Raises:
        FileNotFoundError: If the table does not exist.
        ValueError: If the table is malformed, no scan could be prepared, ``every_mm``
            is not positive or is given with boxes in place of masks, or the shares are
            not three numbers from 0 with a sum of 1.
        OSError: If the disk is full, or another run uses the folder. Complete scans
            are kept.
    """
    _check_shares(shares)
    scans = read_scan_lesions(table)
    if every_mm is not None:
        _check_every(every_mm, scans)
    out_dir = out_dir or osp.dirname(osp.abspath(table))
    patients = {name: 1 + n for n, name in enumerate(_patients(scans))}
    splits = _divide(scans, seed, shares)
    series = _series_names(scans, patients)
    for folder in (_IMAGES, _RECORDS):
        os.makedirs(osp.join(out_dir, folder), exist_ok=True)
    done = PreparedScans()
    with lock_folder(out_dir):
        finished: dict[int, dict[str, list[dict]]] = {}
        for number, result in run_in_parallel(
            _prepare_scan,
            [(*job, out_dir, overwrite, every_mm) for job in zip(scans, series)],
            workers,
            title='Scans',
            unit='scans',
            progress=progress,
        ):
            if isinstance(result, Exception):
                done.problems.append(_sentence(scans[number], result))
                continue
            fresh, finished[number] = result
            done.already_there += not fresh
        done.problems.sort()
        write_problems(osp.join(out_dir, _PROBLEMS), done.problems)
        if not finished:
            raise ValueError(
                f'{done.problems[0]}; none of {len(scans)} scans could be prepared'
            )
        lesions = _rows(LesionRow, 'lesions', finished, scans, patients, splits)
        background = _rows(KeySliceRow, 'background', finished, scans, patients, splits)
        write_deeplesion_csv(osp.join(out_dir, _TABLE), lesions)
        if every_mm is None:
            with contextlib.suppress(FileNotFoundError):
                os.remove(osp.join(out_dir, _BACKGROUND))
        else:
            write_background_csv(osp.join(out_dir, _BACKGROUND), background)
    done.lesions, done.background = len(lesions), len(background)
    done.scans = len(finished)
    return done


def _check_shares(shares: Sequence[float]) -> None:
    if len(shares) != 3 or min(shares) < 0 or not math.isclose(sum(shares), 1):
        raise ValueError(
            'shares must be three numbers from 0 with a sum of 1 (training, '
            f'validation, test), but are {", ".join(map(str, shares))}'
        )


def _series_names(scans: list[ScanLesions], patients: dict[str, int]) -> list[str]:
    """Return the folder of each scan, ``<patient>_<number of the scan>_01``."""
    names, count = [], dict.fromkeys(patients, 0)
    for lesions in scans:
        count[lesions.patient] += 1
        names.append(f'{patients[lesions.patient]:06d}_{count[lesions.patient]:02d}_01')
    return names


def _check_every(every_mm: float, scans: list[ScanLesions]) -> None:
    if not 0 < every_mm < math.inf:
        raise ValueError(f'every_mm must be a positive distance, but is {every_mm}')
    for lesions in scans:
        if lesions.boxes:
            raise ValueError(
                f'{lesions.boxes[0].where}: key slices at a fixed distance (--every) '
                'need masks, because a box does not show the outline in each slice'
            )


def _rows(
    row_type: type,
    key: str,
    finished: dict[int, dict[str, list[dict]]],
    scans: list[ScanLesions],
    patients: dict[str, int],
    splits: dict[str, str],
) -> list:
    """Return the rows of a table, in the order of the scans."""
    rows = []
    for number, found in sorted(finished.items()):
        patient = scans[number].patient
        for values in found[key]:
            rows.append(
                row_type(
                    row=len(rows) + 2,
                    patient=patients[patient],
                    split=SPLITS[splits[patient]],
                    **_fields(values),
                )
            )
    return rows


def _fields(lesion: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a row; tuples become lists in JSON."""
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in lesion.items()
    }


def _sentence(lesions: ScanLesions, error: Exception) -> str:
    words = str(error)
    return words if lesions.scan in words else f'{lesions.scan}: {words}'


def _patients(scans: list[ScanLesions]) -> list[str]:
    return list(dict.fromkeys(lesions.patient for lesions in scans))


def _divide(
    scans: list[ScanLesions], seed: int, shares: Sequence[float]
) -> dict[str, str]:
    """Return the split of each patient: that of the table, or a random one."""
    given = {lesions.patient: lesions.split for lesions in scans}
    free = sorted(patient for patient, split in given.items() if split is None)
    np.random.default_rng(seed).shuffle(free)
    ends = np.rint(np.cumsum(shares) * len(free)).astype(int)
    drawn = {
        patient: list(SPLITS)[int(np.searchsorted(ends, place, 'right'))]
        for place, patient in enumerate(free)
    }
    return {patient: split or drawn[patient] for patient, split in given.items()}


def _prepare_scan(
    lesions: ScanLesions,
    series: str,
    out_dir: str,
    overwrite: bool,
    every_mm: float | None,
) -> tuple[bool, dict[str, list[dict]]]:
    """Write a series; return whether this run wrote it, and its key slices."""
    for path in (lesions.scan, *lesions.masks):
        if not osp.exists(path):
            raise FileNotFoundError(f'{lesions.where}: {path}: no such file or folder')
    paths = [
        each for path in (lesions.scan, *lesions.masks) for each in list_files(path)
    ]
    boxes = [repr(box) for box in lesions.boxes]
    settings = [_VERSION, len(lesions.masks), boxes, every_mm]
    folder = path_in(osp.join(out_dir, _IMAGES), series)
    record = path_in(osp.join(out_dir, _RECORDS), series, '.json')
    if (
        not overwrite
        and osp.isdir(folder)
        and osp.isfile(record)
        and is_up_to_date(out_dir, series, [*paths, record], settings)
    ):
        with open(record, encoding='utf-8') as file:
            return False, json.load(file)
    volume = read_volume(lesions.scan)
    found = _find_key_slices(lesions, volume, series, every_mm)
    _write_slices(volume, folder)
    write_json(
        record,
        dict(scan=osp.abspath(lesions.scan), shape=volume.shape, **found),
    )
    write_note(out_dir, series, [*paths, record], settings)
    return True, found


def _write_slices(volume: CTVolume, folder: str) -> None:
    parent, name = osp.split(folder)
    partial = tempfile.mkdtemp(PARTIAL_SUFFIX, f'{name}.', parent)
    os.chmod(partial, 0o755)  # mkdtemp gives access to the owner only
    try:
        for number, slice_hu in enumerate(volume.array[::-1], 1):
            write_png_hu(osp.join(partial, f'{number:03d}.png'), slice_hu)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _find_key_slices(
    lesions: ScanLesions, volume: CTVolume, series: str, every_mm: float | None
) -> dict[str, list[dict]]:
    """Return the rows of the two tables, without patient and split."""
    depth, height, width = volume.shape
    pixel_mm = square_pixel_mm(volume.spacing_mm, lesions.scan)
    boxes = [_in_key_slice(box, volume) for box in lesions.boxes]
    wanted, ends, sections = set(), set(), []
    if every_mm is not None:
        step = max(1, round(every_mm / volume.spacing_mm[0]))
        wanted = set(range((depth - 1) % step // 2, depth, step))
    for mask in lesions.masks:
        for region, place in _regions(mask, volume):
            areas = region.sum(axis=(1, 2))
            largest = place[0].start + int(areas.argmax())
            if every_mm is not None:
                wanted.add(largest)
            for z, area in enumerate(areas, place[0].start):
                if area < _LEAST_SHARE * areas.max():
                    ends.add(z)
                elif every_mm is not None or z == largest:
                    sections.append((z, _section_box(region, place, z)))
    # The key slices are known after the last region.
    boxes += [(z, box) for z, box in sections if every_mm is None or z in wanted]
    if every_mm is not None:
        boxes = [(z, box_px) for z, box_px in boxes if z not in ends]

    def key_slice(z: int) -> dict:
        return dict(
            file_name=f'{series}_{depth - z:03d}.png',
            series=series,
            key_slice=depth - z,
            slice_range=(1, depth),
            spacing_mm=pixel_mm,
            interval_mm=volume.spacing_mm[0],
            image_size=(width, height),
        )

    rows = []
    for z, box_px in boxes:
        sides = box_px[2] - box_px[0], box_px[3] - box_px[1]
        rows.append(
            dict(
                key_slice(z),
                box_px=box_px,
                diameters_px=(max(sides), min(sides)),
                lesion_type=-1,
                noisy=False,
            )
        )
    free = wanted - ends - {z for z, _ in boxes}
    return dict(lesions=rows, background=[key_slice(z) for z in sorted(free)])


def _in_key_slice(
    box: VoxelBox | LesionSliceBox, volume: CTVolume
) -> tuple[int, tuple[float, ...]]:
    """Return key slice z and the outer edges (x1, y1, x2, y2) of a box."""
    depth, height, width = volume.shape
    if isinstance(box, LesionSliceBox):
        if box.image_size != (width, height):
            raise ValueError(
                f'{box.where}: the image has {box.image_size[0]} x '
                f'{box.image_size[1]} pixels in the table, but {width} x {height} in '
                'the scan'
            )
        z, box_px = box.index, box.box_px
    else:
        corners = volume.source_to_index(np.array([box.first, box.last]))
        (z1, y1, x1), (z2, y2, x2) = np.sort(corners, axis=0)
        z = int(np.floor((z1 + z2) / 2 + 1e-3))
        box_px = tuple(round(float(value), 3) for value in (x1, y1, x2 + 1, y2 + 1))
    if not 0 <= z < depth:
        raise ValueError(
            f'{box.where}: the lesion is outside the {depth} slices of the scan'
        )
    check_box(box_px, width, height, box.where)
    return z, box_px


def _regions(
    path: str, volume: CTVolume
) -> Iterator[tuple[np.ndarray, tuple[slice, ...]]]:
    """Yield the connected regions of a label file, each with its place (z, y, x)."""
    labels = read_labels(path, volume).array
    if not labels.any():
        raise ValueError(f'{path}: the mask is empty')
    for value in np.unique(labels[labels > 0]):
        regions = cast(
            np.ndarray, skimage.measure.label(labels == value, connectivity=3)
        )
        for number, place in enumerate(ndimage.find_objects(regions), 1):
            yield regions[place] == number, place


def _section_box(
    region: np.ndarray, place: tuple[slice, ...], z: int
) -> tuple[float, ...]:
    """Return (x1, y1, x2, y2) of a region in slice z of the scan."""
    ys, xs = np.nonzero(region[z - place[0].start])
    top, left = place[1].start, place[2].start
    return (
        float(left + xs.min()),
        float(top + ys.min()),
        float(left + xs.max() + 1),
        float(top + ys.max() + 1),
    )
