"""Conversion of DeepLesion's PNG files to a cache that is fast to read."""

import os
import os.path as osp
from collections.abc import Sequence
from dataclasses import dataclass

from mmlesion.ct import (
    ARCHIVE_SUFFIX,
    SLICE_INTERVAL_MM,
    SliceArchive,
    check_num_slices,
    plan_slices,
    read_png_hu,
    write_slice_archive,
)
from mmlesion.datasets.sources.deeplesion_csv import read_deeplesion_csv
from mmlesion.datasets.sources.deeplesion_row import LesionRow
from mmlesion.files import counted, lock_folder, run_in_parallel

from .source_notes import is_up_to_date, write_note


@dataclass
class PreparedDeepLesion:
    """Result of :func:`prepare_deeplesion`.

    Attributes:
        series: Number of series in the cache.
        already_there: Number of these series that an earlier run had completed.
        slices: Number of slices written by this run.
        size: Bytes written by this run.
        absent: Number of series in the csv whose folder does not exist.
    """

    series: int = 0
    already_there: int = 0
    slices: int = 0
    size: int = 0
    absent: int = 0

    def summary(self) -> str:
        """Return a one-sentence summary."""
        return (
            f'Prepared {self.series} series ({self.already_there} from an earlier '
            f'run); wrote {counted(self.slices, "slice")}, {self.size / 2**20:.1f} MiB'
            + (
                f'; series of the csv that are not on disk: {self.absent}'
                if self.absent
                else ''
            )
        )


def prepare_deeplesion(
    data_root: str,
    cache_dir: str | None = None,
    ann_file: str = 'DL_info.csv',
    img_dir: str = 'Images_png',
    num_slices: int | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> PreparedDeepLesion:
    """Write one :class:`~mmlesion.ct.SliceArchive` for each series.

    ``LoadSliceStack(cache_dir=...)`` reads the same pixels from the archives as from
    the PNG files, in about a fifth of the time. Each series is written to a
    ``.partial`` file that is flushed and renamed, so a file with its final name is
    always complete. A run after an interruption removes partial files and continues
    with the missing series.

    Args:
        data_root: Folder of the data set.
        cache_dir: Output folder. Defaults to ``cache`` in ``data_root``.
        ann_file: The official csv file, relative to ``data_root``.
        img_dir: Folder of the series, relative to ``data_root``.
        num_slices: Store only the slices that a stack of this many slices at a distance
            of 2 mm needs around each key slice. Defaults to all slices on disk.
        workers: Number of processes. Defaults to the number of cores.
        overwrite: Whether to write existing files again.
        progress: Whether to show a progress bar.

    Returns:
        A summary of the run.

    Raises:
        FileNotFoundError: If the csv file or all series are missing.
        ValueError: If the csv is malformed or slices are damaged. All other series are
            still prepared, and the message names the first damaged slice.
        OSError: If the disk is full or not writable, or another run has locked the
            folder. Completed files remain.
    """
    if workers is not None and workers < 1:
        raise ValueError(f'workers must be positive, but is {workers}')
    if num_slices is not None:
        check_num_slices(num_slices)
    image_root = osp.join(data_root, img_dir)
    cache_dir = cache_dir or osp.join(data_root, 'cache')
    present, absent = _find_series(osp.join(data_root, ann_file), image_root)
    done = PreparedDeepLesion(absent=absent)
    os.makedirs(cache_dir, exist_ok=True)
    with lock_folder(cache_dir, [cache_dir]):
        jobs = [
            (
                osp.join(image_root, name),
                osp.join(cache_dir, name + ARCHIVE_SUFFIX),
                _reach(rows, num_slices),
                overwrite,
            )
            for name, rows in sorted(present.items())
        ]
        damaged = []
        for _, result in run_in_parallel(
            _prepare_series,
            jobs,
            workers,
            title='DeepLesion',
            unit='series',
            progress=progress,
        ):
            if isinstance(result, Exception):
                damaged.append(str(result))
                continue
            slices, size = result
            done.series += 1
            done.already_there += size == 0
            done.slices += slices
            done.size += size
    if damaged:
        raise ValueError(
            f'{damaged[0]}; {len(damaged)} of {len(jobs)} series could not be '
            'prepared, the others are ready: download the slice again or delete it, '
            'and run again'
        )
    return done


def _find_series(
    csv_path: str, image_root: str
) -> tuple[dict[str, list[LesionRow]], int]:
    """Return the rows of each series on disk, and the number of missing series."""
    key_rows: dict[str, list[LesionRow]] = {}
    for row in read_deeplesion_csv(csv_path):
        key_rows.setdefault(row.series, []).append(row)
    present = {
        name: rows
        for name, rows in key_rows.items()
        if osp.isdir(osp.join(image_root, name))
    }
    if not present:
        raise FileNotFoundError(
            f'{image_root}: no folder of a series of {osp.basename(csv_path)} is '
            "there; expected '<series>/<slice>.png'"
        )
    return present, len(key_rows) - len(present)


def _reach(
    rows: Sequence[LesionRow], num_slices: int | None
) -> list[tuple[int, int]] | None:
    """Return the first and last slice that each key slice of a series needs."""
    if num_slices is None:
        return None
    spans = set()
    for row in rows:
        offset = max(
            place
            for rule in ('exact', 'legacy')
            for mix in plan_slices(num_slices, row.interval_mm, SLICE_INTERVAL_MM, rule)
            for place, _ in mix
        )
        spans.add((row.key_slice - offset, row.key_slice + offset))
    return sorted(spans)


def _prepare_series(
    folder: str, target: str, spans: list[tuple[int, int]] | None, overwrite: bool
) -> tuple[int, int]:
    """Write one series and return (slices, bytes), or (0, 0) if it was complete."""
    names = {
        int(stem): name
        for stem, suffix, name in (
            (*osp.splitext(name), name) for name in os.listdir(folder)
        )
        if suffix == '.png' and stem.isdigit()
    }
    wanted = (
        set(names)
        if spans is None
        else {
            number
            for number in names
            if any(first <= number <= last for first, last in spans)
        }
    )
    cache_dir, name = osp.split(target)

    def paths_of(numbers: set[int]) -> list[str]:
        return [osp.join(folder, names[number]) for number in numbers]

    stored = set() if overwrite else _stored(target, set(names))
    if stored and stored >= wanted and is_up_to_date(cache_dir, name, paths_of(stored)):
        return 0, 0
    size = write_slice_archive(
        target,
        wanted,
        lambda number: read_png_hu(osp.join(folder, names[number])),
        set(names) - wanted,
    )
    write_note(cache_dir, name, paths_of(wanted))
    return len(wanted), size


def _stored(target: str, names: set[int]) -> set[int]:
    """Return the slices in a complete file of this series; empty if there is none."""
    try:
        with SliceArchive(target) as archive:
            return set(archive.stored) if archive.numbers == names else set()
    except (FileNotFoundError, ValueError):
        return set()
