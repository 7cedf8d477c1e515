"""Conversion of scans with boxes or masks to the layout of DeepLesion."""

import json
import os
import os.path as osp
import shutil
import tempfile
from collections.abc import Iterator
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

from ..sources.deeplesion_csv import write_deeplesion_csv
from ..sources.deeplesion_row import SPLITS, LesionRow, check_box
from ..sources.scan_lesions import (
    LesionSliceBox,
    ScanLesions,
    VoxelBox,
    read_scan_lesions,
)
from .source_notes import is_up_to_date, write_note

_TABLE, _IMAGES, _RECORDS = 'DL_info.csv', 'Images_png', 'scans'
_PROBLEMS = 'left_out.txt'
_SHARES = dict(train=0.7, val=0.15, test=0.15)
_VERSION = 1


@dataclass
class PreparedScans:
    """Summary of :func:`prepare_scans`.

    Attributes:
        lesions: Number of rows of the table.
        scans: Number of scans in the table.
        already_there: Number of scans that an earlier run completed.
        problems: A sentence for each omitted scan.
    """

    lesions: int = 0
    scans: int = 0
    already_there: int = 0
    problems: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Return a one-sentence summary."""
        return (
            f'Prepared {counted(self.lesions, "lesion")} of '
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
) -> PreparedScans:
    """Write scans with lesions in the layout of DeepLesion.

    The output is ``DL_info.csv`` and ``Images_png/<series>/<slice>.png``, which
    ``DeepLesionDataset`` reads, and ``scans/<series>.json`` with the path of the scan.
    Slices are axial and are numbered from 1 at the head, as in DeepLesion. The key
    slice of a mask is the slice with its largest area, that of a box its middle. The
    diameters are the sides of the box in the key slice. Lesions have no type.

    Where the table has no splits, patients are divided at random into 70 % training,
    15 % validation and 15 % test.

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

    Returns:
        What was done.

    Raises:
        FileNotFoundError: If the table does not exist.
        ValueError: If the table is malformed, or no scan could be prepared.
        OSError: If the disk is full, or another run uses the folder. Complete scans
            are kept.
    """
    scans = read_scan_lesions(table)
    out_dir = out_dir or osp.dirname(osp.abspath(table))
    patients = {name: 1 + n for n, name in enumerate(_patients(scans))}
    splits = _divide(scans, seed)
    series, count = [], dict.fromkeys(patients, 0)
    for lesions in scans:
        count[lesions.patient] += 1
        series.append(
            f'{patients[lesions.patient]:06d}_{count[lesions.patient]:02d}_01'
        )
    for folder in (_IMAGES, _RECORDS):
        os.makedirs(osp.join(out_dir, folder), exist_ok=True)
    done, rows = PreparedScans(), []
    with lock_folder(out_dir) as lock:
        finished: dict[int, list[dict]] = {}
        for number, result in run_in_parallel(
            _prepare_scan,
            [(*job, out_dir, overwrite) for job in zip(scans, series)],
            workers,
            title='Scans',
            unit='scans',
            lock=lock,
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
        for number, lesions in sorted(finished.items()):
            patient = scans[number].patient
            for lesion in lesions:
                rows.append(
                    LesionRow(
                        row=len(rows) + 2,
                        patient=patients[patient],
                        split=SPLITS[splits[patient]],
                        **_fields(lesion),
                    )
                )
        write_deeplesion_csv(osp.join(out_dir, _TABLE), rows)
    done.lesions, done.scans = len(rows), len(finished)
    return done


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


def _divide(scans: list[ScanLesions], seed: int) -> dict[str, str]:
    """Return the split of each patient: that of the table, or a random one."""
    given = {lesions.patient: lesions.split for lesions in scans}
    free = sorted(patient for patient, split in given.items() if split is None)
    np.random.default_rng(seed).shuffle(free)
    ends = np.rint(np.cumsum(list(_SHARES.values())) * len(free)).astype(int)
    drawn = {
        patient: list(_SHARES)[int(np.searchsorted(ends, place, 'right'))]
        for place, patient in enumerate(free)
    }
    return {patient: split or drawn[patient] for patient, split in given.items()}


def _prepare_scan(
    lesions: ScanLesions, series: str, out_dir: str, overwrite: bool
) -> tuple[bool, list[dict]]:
    """Write a series; return whether this run wrote it, and its lesions."""
    for path in (lesions.scan, *lesions.masks):
        if not osp.exists(path):
            raise FileNotFoundError(f'{lesions.where}: {path}: no such file or folder')
    paths = [
        each for path in (lesions.scan, *lesions.masks) for each in list_files(path)
    ]
    settings = [_VERSION, len(lesions.masks), [repr(box) for box in lesions.boxes]]
    folder = path_in(osp.join(out_dir, _IMAGES), series)
    record = path_in(osp.join(out_dir, _RECORDS), series, '.json')
    if (
        not overwrite
        and osp.isdir(folder)
        and osp.isfile(record)
        and is_up_to_date(out_dir, series, [*paths, record], settings)
    ):
        with open(record, encoding='utf-8') as file:
            return False, json.load(file)['lesions']
    volume = read_volume(lesions.scan)
    found = _find_lesions(lesions, volume, series)
    _write_slices(volume, folder)
    write_json(
        record,
        dict(scan=osp.abspath(lesions.scan), shape=volume.shape, lesions=found),
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


def _find_lesions(lesions: ScanLesions, volume: CTVolume, series: str) -> list[dict]:
    """Return the rows of the table, without patient and split."""
    depth, height, width = volume.shape
    pixel_mm = square_pixel_mm(volume.spacing_mm, lesions.scan)
    boxes = [_in_key_slice(box, volume) for box in lesions.boxes]
    for mask in lesions.masks:
        boxes += _mask_boxes(mask, volume)
    rows = []
    for z, box_px in boxes:
        sides = box_px[2] - box_px[0], box_px[3] - box_px[1]
        rows.append(
            dict(
                file_name=f'{series}_{depth - z:03d}.png',
                series=series,
                key_slice=depth - z,
                box_px=box_px,
                diameters_px=(max(sides), min(sides)),
                lesion_type=-1,
                noisy=False,
                slice_range=(1, depth),
                spacing_mm=pixel_mm,
                interval_mm=volume.spacing_mm[0],
                image_size=(width, height),
            )
        )
    return rows


def _in_key_slice(
    box: VoxelBox | LesionSliceBox, volume: CTVolume
) -> tuple[int, tuple[float, ...]]:
    """Return key slice z and (x1, y1, x2, y2), the borders of the outer pixels."""
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


def _mask_boxes(path: str, volume: CTVolume) -> Iterator[tuple[int, tuple[float, ...]]]:
    labels = read_labels(path, volume).array
    if not labels.any():
        raise ValueError(f'{path}: the mask is empty')
    for value in np.unique(labels[labels > 0]):
        regions = cast(
            np.ndarray, skimage.measure.label(labels == value, connectivity=3)
        )
        for number, place in enumerate(ndimage.find_objects(regions), 1):
            region = regions[place] == number
            z = int(region.sum(axis=(1, 2)).argmax())
            ys, xs = np.nonzero(region[z])
            top, left = place[1].start, place[2].start
            yield (
                place[0].start + z,
                (
                    float(left + xs.min()),
                    float(top + ys.min()),
                    float(left + xs.max() + 1),
                    float(top + ys.max() + 1),
                ),
            )
