"""Process pool whose workers end with their parent process."""

import ctypes
import errno
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import cv2
import SimpleITK as sitk  # noqa: N813
from tqdm import tqdm


def run_in_parallel(
    function: Callable,
    jobs: Sequence[tuple],
    workers: int | None = None,
    *,
    unit: str,
    title: str = '',
    progress: bool = False,
    raise_errors: bool = False,
) -> Iterator[tuple[int, Any]]:
    """Call a function for each job in worker processes with one thread each.

    A ``ValueError`` or ``FileNotFoundError`` of a job means bad input: the exception is
    yielded in place of a result, and the other jobs continue. At most
    four jobs per process are queued, and results are not kept. A single worker runs in
    the current process.

    Args:
        function: A module-level function, called with the items of a job.
        jobs: The jobs, one tuple of arguments each.
        workers: Number of processes. Defaults to the number of cores.
        unit: Plural noun for the jobs.
        title: Title of the progress bar.
        progress: Whether to show a progress bar.
        raise_errors: Whether to raise the exception of a job with bad input at once.

    Yields:
        Index of the job and its result, in the order of completion.

    Raises:
        OSError: If the disk is full or a worker was killed. The message contains the
            number of complete jobs.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers <= 1:
        results = _run_here(function, jobs, title, unit, progress)
    else:
        results = _run_in_pool(function, jobs, workers, title, unit, progress)
    for number, result in results:
        if raise_errors and isinstance(result, Exception):
            raise result
        yield number, result


def map_ahead(function: Callable, jobs: Iterable[tuple], workers: int) -> Iterator[Any]:
    """Call a function for each job in worker processes, ahead of the caller.

    Results are yielded in the order of the jobs. At most ``workers`` + 1 results exist
    at a time, including those that wait for the caller. The worker processes end
    with their parent process.

    Args:
        function: A module-level function, called with the items of a job.
        jobs: The jobs, one tuple of arguments each.
        workers: Number of processes; 0 runs the jobs in the current process.

    Yields:
        The result of each job, or the exception of a job with bad input.

    Raises:
        OSError: If a worker was killed.
    """
    waiting = iter(jobs)
    if workers < 1:
        for job in waiting:
            yield _outcome(function, job)
        return
    methods = multiprocessing.get_all_start_methods()
    method = 'fork' if 'fork' in methods else 'spawn'
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(workers, context, _start_worker, (os.getpid(),))
    try:
        running: deque[Future] = deque()
        for job in itertools.islice(waiting, workers + 1):
            running.append(pool.submit(_outcome, function, job))
        while running:
            result = running.popleft().result()
            for job in itertools.islice(waiting, 1):
                running.append(pool.submit(_outcome, function, job))
            yield result
            del result
    except BrokenProcessPool:
        raise OSError(
            errno.ECHILD,
            'a process was killed from outside, perhaps because of insufficient memory',
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _outcome(function: Callable, job: tuple) -> Any:
    """Return the result of a job, or its exception for bad input."""
    try:
        return function(*job)
    except (OSError, ValueError) as error:
        return error


def _run_in_pool(
    function: Callable,
    jobs: Sequence[tuple],
    workers: int,
    title: str,
    unit: str,
    progress: bool,
) -> Iterator[tuple[int, Any]]:
    methods = multiprocessing.get_all_start_methods()
    method = 'fork' if 'fork' in methods else 'spawn'
    context = multiprocessing.get_context(method)
    complete = 0
    with (
        ProcessPoolExecutor(workers, context, _start_worker, (os.getpid(),)) as pool,
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
                    number, result = running.pop(future), _result(future.result)
                    complete += not isinstance(result, Exception)
                    bar.update()
                    yield number, result
        except BrokenProcessPool:
            raise OSError(
                errno.ECHILD,
                'a process was killed from outside, perhaps '
                f'because of insufficient memory, {_after(complete, unit)}',
            ) from None
        except OSError as error:
            pool.shutdown(cancel_futures=True)
            raise _explain(error, _after(complete, unit)) from None
        except Exception:
            pool.shutdown(cancel_futures=True)
            raise
        except BaseException:
            # On an interrupt, do not wait for jobs, which may take minutes. A killed
            # job leaves at most files with the suffix .partial.
            for process in list((pool._processes or {}).values()):
                process.kill()
            raise


def _run_here(
    function: Callable, jobs: Sequence[tuple], title: str, unit: str, progress: bool
) -> Iterator[tuple[int, Any]]:
    complete = 0
    bar = tqdm(jobs, desc=title, unit=unit, disable=not progress)
    for number, job in enumerate(bar):
        try:
            result = _result(lambda job=job: function(*job))
        except OSError as error:
            raise _explain(error, _after(complete, unit)) from None
        complete += not isinstance(result, Exception)
        yield number, result


def _result(call: Callable) -> Any:
    try:
        return call()
    except (FileNotFoundError, ValueError) as error:
        return error


def _explain(error: OSError, after: str) -> OSError:
    """Return an error with a sentence about the disk failure."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OSError(error.errno, f'the disk is full {after}')
    where = f'{error.filename}: ' if error.filename else ''
    return OSError(error.errno, f'{where}{error.strerror or error} {after}')


def _after(complete: int, unit: str) -> str:
    return f'after {complete} {unit}; these are complete, run again to go on'


def _start_worker(parent: int) -> None:
    """Ignore interrupts, and end with the parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # With 1 instead of 0, OpenCV waits forever for the end of the threads of the parent
    # process, which a fork does not copy.
    cv2.setNumThreads(0)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    _end_with_parent()

    def watch() -> None:
        tick = threading.Event()
        while os.getppid() == parent:
            tick.wait(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _end_with_parent() -> None:
    """Request that Linux kills this process when its parent ends."""
    if sys.platform == 'linux':
        try:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        except (OSError, AttributeError):
            pass  # the watching thread still works
