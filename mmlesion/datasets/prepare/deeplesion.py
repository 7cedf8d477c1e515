"""DeepLesion's PNGs to a cache that is quick to read."""
import errno
import multiprocessing
import os
import os.path as osp
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import cv2
from tqdm import tqdm

from mmlesion.ct import (
    ARCHIVE_SUFFIX,
    SLICE_INTERVAL_MM,
    SliceArchive,
    check_num_slices,
    plan_slices,
    read_png_hu,
    write_slice_archive,
)

from ..deeplesion_csv import LesionRow, read_deeplesion_csv
from .folder_lock import hold_folder, remove_partial


@dataclass
class PreparedDeepLesion:
    """What :func:`prepare_deeplesion` did.

    Attributes:
        series (int): Series in the cache now.
        already_there (int): Those that an earlier run had finished.
        slices (int): Slices written by this run.
        size (int): Bytes written by this run.
        absent (int): Series of the csv whose folder is not on disk.
    """

    series: int = 0
    already_there: int = 0
    slices: int = 0
    size: int = 0
    absent: int = 0


def prepare_deeplesion(data_root: str,
                       cache_dir: str | None = None,
                       ann_file: str = 'DL_info.csv',
                       img_dir: str = 'Images_png',
                       num_slices: int | None = None,
                       workers: int | None = None,
                       overwrite: bool = False,
                       progress: bool = True) -> PreparedDeepLesion:
    """Write one :class:`~mmlesion.ct.SliceArchive` for each series.

    ``LoadSliceStack(cache_dir=...)`` reads them, with the same pixels as from
    the PNGs, in about a fifth of the time. Each series is written to a
    ``.partial`` file, flushed and renamed, so that a file under its final
    name is always complete; a run after a kill removes what is partial and
    does what is missing.

    Args:
        data_root (str): Folder of the data set.
        cache_dir (str, optional): Where to write. Defaults to ``cache`` in
            ``data_root``.
        ann_file (str): The official csv, relative to ``data_root``.
        img_dir (str): Folder of the series, relative to ``data_root``.
        num_slices (int, optional): Store only the slices that stacks of this
            many, 2 mm apart, need around each key slice. Defaults to all
            slices on disk.
        workers (int, optional): Processes. Defaults to the number of cores.
        overwrite (bool): Write again what is there.
        progress (bool): Show a progress bar.

    Returns:
        PreparedDeepLesion: What was done.

    Raises:
        FileNotFoundError: If the csv or all series are missing.
        ValueError: If the csv is malformed, or slices are damaged (all others
            are prepared; the first is named).
        OSError: If the disk is full, cannot be written, or another run holds
            the folder. What is complete stays.
    """
    if workers is not None and workers < 1:
        raise ValueError(f'workers must be positive, but is {workers}')
    if num_slices is not None:
        check_num_slices(num_slices)
    image_root = osp.join(data_root, img_dir)
    cache_dir = cache_dir or osp.join(data_root, 'cache')
    key_rows: dict[str, list[LesionRow]] = {}
    for row in read_deeplesion_csv(osp.join(data_root, ann_file)):
        key_rows.setdefault(row.series, []).append(row)
    present = {name: rows for name, rows in key_rows.items()
               if osp.isdir(osp.join(image_root, name))}
    if not present:
        raise FileNotFoundError(
            f'{image_root}: no folder of a series of {ann_file} is there; '
            "expected '<series>/<slice>.png'")
    done = PreparedDeepLesion(absent=len(key_rows) - len(present))
    os.makedirs(cache_dir, exist_ok=True)
    with hold_folder(cache_dir) as lock:
        remove_partial(cache_dir)
        jobs = [(osp.join(image_root, name),
                 osp.join(cache_dir, name + ARCHIVE_SUFFIX),
                 _reach(rows, num_slices), overwrite)
                for name, rows in sorted(present.items())]
        _run(jobs, workers, progress, lock, done)
    return done


def _reach(rows: Sequence[LesionRow],
           num_slices: int | None) -> list[tuple[int, int]] | None:
    """First and last slice that each key slice of a series needs."""
    if num_slices is None:
        return None
    spans = set()
    for row in rows:
        offset = max(place for rule in ('exact', 'legacy')
                     for mix in plan_slices(num_slices, row.interval_mm,
                                            SLICE_INTERVAL_MM, rule)
                     for place, _ in mix)
        spans.add((row.key_slice - offset, row.key_slice + offset))
    return sorted(spans)


def _prepare_series(folder: str, target: str,
                    spans: list[tuple[int, int]] | None,
                    overwrite: bool) -> tuple[int, int]:
    """Write one series: (slices, bytes), or (0, 0) if it was done."""
    names = {int(stem): name for stem, suffix, name in
             ((*osp.splitext(name), name) for name in os.listdir(folder))
             if suffix == '.png' and stem.isdigit()}
    wanted = set(names) if spans is None else {
        number for number in names
        if any(first <= number <= last for first, last in spans)}
    if not overwrite and _is_done(target, set(names), wanted):
        return 0, 0
    size = write_slice_archive(
        target, wanted, lambda number: read_png_hu(
            osp.join(folder, names[number])), set(names) - wanted)
    return len(wanted), size


def _is_done(target: str, names: set[int], wanted: set[int]) -> bool:
    """Whether a complete file holds the wanted ones of exactly these slices."""
    try:
        with SliceArchive(target) as archive:
            return archive.numbers == names and archive.stored >= wanted
    except (FileNotFoundError, ValueError):
        return False


def _run(jobs: list[tuple], workers: int | None, progress: bool, lock: int,
         done: PreparedDeepLesion) -> None:
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    methods = multiprocessing.get_all_start_methods()
    method = 'fork' if 'fork' in methods else 'spawn'
    context = multiprocessing.get_context(method)
    inherited = lock if method == 'fork' else -1
    damaged: list[str] = []
    with ProcessPoolExecutor(
            workers, context, _start_worker, (inherited, os.getpid())) as pool, tqdm(
            total=len(jobs), desc='DeepLesion', unit='series',
            disable=not progress) as bar:
        running: set[Future] = set()
        try:
            for job in jobs:
                running.add(pool.submit(_prepare_series, *job))
                if len(running) >= 4 * workers:
                    running = _collect(running, done, damaged, bar)
            while running:
                running = _collect(running, done, damaged, bar)
        except BrokenProcessPool:
            raise OSError(
                errno.ECHILD, 'a process was killed from outside, perhaps for '
                f'want of memory, {_after(done)}') from None
        except OSError as error:
            pool.shutdown(cancel_futures=True)
            raise _explain(error, done) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if damaged:
        raise ValueError(
            f'{damaged[0]}; {len(damaged)} of {len(jobs)} series could not be '
            'prepared, all others are: fetch the slice again or delete it and '
            'run again')


def _collect(running: set[Future], done: PreparedDeepLesion,
             damaged: list[str], bar: tqdm) -> set[Future]:
    finished, running = wait(running, return_when=FIRST_COMPLETED)
    for future in finished:
        bar.update()
        try:
            slices, size = future.result()
        except ValueError as error:
            damaged.append(str(error))
            continue
        done.series += 1
        done.already_there += size == 0
        done.slices += slices
        done.size += size
    return running


def _explain(error: OSError, done: PreparedDeepLesion) -> OSError:
    """One sentence for what went wrong with the disk."""
    after = _after(done)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OSError(error.errno, f'the disk of the cache is full {after}')
    where = f'{error.filename}: ' if error.filename else ''
    return OSError(
        error.errno, f'{where}{error.strerror or error} {after}')


def _after(done: PreparedDeepLesion) -> str:
    return (f'after {done.series} series; these are complete, run again to go '
            'on')


def _start_worker(lock: int, parent: int) -> None:
    """Leave interrupts to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    if lock >= 0:
        os.close(lock)  # else the lock would outlive a killed parent

    def watch() -> None:
        tick = threading.Event()
        while os.getppid() == parent:
            tick.wait(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
