"""Preparing in several processes, which end when the one that started them does."""

import errno
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import cv2
import SimpleITK as sitk  # noqa: N813
from tqdm import tqdm


def run_in_parallel(
    function: Callable,
    jobs: Sequence[tuple],
    workers: int | None,
    lock: int,
    title: str,
    unit: str,
    progress: bool,
) -> Iterator[tuple[int, Any]]:
    """Call a function for each job in processes of one thread each.

    A job that fails by ``ValueError`` or ``FileNotFoundError`` is of bad input and
    leaves the others alone: its error is yielded instead of a result. No more than
    four jobs a process wait, and no result is kept.

    Args:
        function (Callable): Of a module; gets a job's items as arguments.
        jobs (Sequence[tuple]): The jobs.
        workers (int, optional): Processes. Defaults to the number of cores.
        lock (int): Descriptor of the folder's lock, which the processes let go of.
        title (str): Of the progress bar.
        unit (str): What a job is, in the plural.
        progress (bool): Show a progress bar.

    Yields:
        tuple: Number of the job and its result, as they finish.

    Raises:
        OSError: If the disk is full or a process was killed; says how many jobs are
            complete.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    methods = multiprocessing.get_all_start_methods()
    method = 'fork' if 'fork' in methods else 'spawn'
    context = multiprocessing.get_context(method)
    inherited = lock if method == 'fork' else -1
    complete = 0
    with (
        ProcessPoolExecutor(
            workers, context, _start_worker, (inherited, os.getpid())
        ) as pool,
        tqdm(total=len(jobs), desc=title, unit=unit, disable=not progress) as bar,
    ):
        running: dict[Future, int] = {}
        waiting = iter(enumerate(jobs))
        try:
            while True:
                for number, job in waiting:
                    running[pool.submit(function, *job)] = number
                    if len(running) >= 4 * workers:
                        break
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED)[0]:
                    number, result = running.pop(future), _result(future)
                    complete += not isinstance(result, Exception)
                    bar.update()
                    yield number, result
        except BrokenProcessPool:
            raise OSError(
                errno.ECHILD,
                'a process was killed from outside, perhaps for '
                f'want of memory, {_after(complete, unit)}',
            ) from None
        except OSError as error:
            pool.shutdown(cancel_futures=True)
            raise _explain(error, _after(complete, unit)) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _result(future: Future) -> Any:
    try:
        return future.result()
    except (FileNotFoundError, ValueError) as error:
        return error


def _explain(error: OSError, after: str) -> OSError:
    """One sentence for what went wrong with the disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OSError(error.errno, f'the disk of the cache is full {after}')
    where = f'{error.filename}: ' if error.filename else ''
    return OSError(error.errno, f'{where}{error.strerror or error} {after}')


def _after(complete: int, unit: str) -> str:
    return f'after {complete} {unit}; these are complete, run again to go on'


def _start_worker(lock: int, parent: int) -> None:
    """Leave interrupts to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    if lock >= 0:
        os.close(lock)  # else the lock would outlive a killed parent

    def watch() -> None:
        tick = threading.Event()
        while os.getppid() == parent:
            tick.wait(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
