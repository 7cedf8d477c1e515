"""Resumable runs over many scans, in one process or on a Dask cluster."""

import errno
import functools
import json
import os
import pickle
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from mmlesion.files import (
    PARTIAL_SUFFIX,
    lock_folder,
    map_ahead,
    read_csv_rows,
    read_text,
    remove_partial,
    write_csv_rows,
    write_json,
)

from .find_scans import SCAN_HASH_FILE
from .identity import Identity
from .reading import LoadedScan, read_scan

#: The folder of a scan is complete if it contains this file.
FINDINGS_FILE = 'findings.json'
FAILURES_FILE = 'failures.csv'
RUN_FILE = 'run.json'

#: System errors that are independent of the scan: full disk or missing permission.
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


class WorkerSettingsError(ValueError):
    """A worker of a cluster would compute with other settings than the run."""


class ScanTask(Protocol):
    """Task that is run on each scan. It must support pickle, because workers get it."""

    def settings(self) -> dict[str, Any]:
        """Return the settings that determine the results, as plain values."""
        ...

    def __call__(self, scan: LoadedScan, folder: Path) -> None:
        """Write the results of a scan, including ``findings.json``, to a folder."""
        ...


@dataclass(frozen=True)
class FailureRow:
    """A row of ``failures.csv``.

    Attributes:
        name: Name of the scan.
        scan: Path of the scan.
        reason: Sentence that explains why the scan has no findings.
    """

    name: str
    scan: str
    reason: str


@dataclass(frozen=True)
class RunSummary:
    """Outcome of a run.

    Attributes:
        done: Names of the scans completed in this run.
        before: Names of the scans completed in earlier runs.
        failures: Scans without findings.
    """

    done: list[str]
    before: list[str]
    failures: list[FailureRow]


def run_scans(
    scans: Mapping[str, Path],
    out_dir: str | os.PathLike[str],
    task: ScanTask,
    series_uid: str | None = None,
    readers: int = 1,
    dask: str | None = None,
    workers: int = 1,
    retry: bool = False,
    progress: bool = True,
    keep_identity: bool = False,
) -> RunSummary:
    """Run a task on scans. Scans that are already complete are skipped.

    The results of a scan are written to a folder with the suffix ``.partial``, which is
    renamed when it is complete. If the process is killed, complete folders and partial
    folders remain; the next run removes the partial folders. A scan that cannot be read
    or processed gets a row in ``failures.csv``, and the run continues with the other
    scans.

    Args:
        scans: Paths by name, see :func:`mmlesion.scan.find_scans.find_scans`.
        out_dir: Output folder.
        task: Task that is run on each scan.
        series_uid: DICOM: UID of the series; only for a single scan.
        readers: Number of processes that read scans in advance; 0 reads in this
            process.
        dask: Address of a Dask scheduler, or ``'local'`` to start ``workers``
            processes. Workers need access to the same paths and to this package.
        workers: Number of processes for ``'local'``.
        retry: Repeat scans that failed in an earlier run.
        progress: Whether to show a progress bar.
        keep_identity: Whether names, IDs and dates of the patient may stay in
            ``failures.csv``.

    Raises:
        ValueError: If the folder contains results with different settings, of another
            program, or of another scan with the same name.
        BlockingIOError: If another run writes to the folder.
        OSError: If results cannot be written.
    """
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    with lock_folder(os.fspath(out)):
        for name in scans:
            if (out / name / SCAN_HASH_FILE).exists():
                raise ValueError(
                    f'{out / name}: the folder contains results of another program; '
                    'use another folder'
                )
        chosen = {} if series_uid is None else dict(series_uid=series_uid)
        _check_settings(out / RUN_FILE, {**task.settings(), **chosen})
        remove_partial(os.fspath(out))
        before = [name for name in scans if (out / name / FINDINGS_FILE).is_file()]
        for name in before:
            _check_source(out / name, scans[name])
        failures = read_failures(out / FAILURES_FILE)
        if retry:
            failures = {n: row for n, row in failures.items() if n not in scans}
        finished = {*before, *failures}
        todo = {name: path for name, path in scans.items() if name not in finished}
        if dask is None:
            outcomes = _run_here(todo, out, task, series_uid, readers)
        else:
            outcomes = _run_on_dask(todo, out, task, series_uid, dask, workers)
        done = []
        with tqdm(
            total=len(scans),
            initial=len(finished & set(scans)),
            desc='Detecting',
            unit='scan',
            disable=not progress,
            file=sys.stderr,
        ) as bar:
            for name, reason in outcomes:
                if reason is None:
                    done.append(name)
                else:
                    failures[name] = _failure(name, scans[name], reason, keep_identity)
                    _write_failures(out / FAILURES_FILE, failures)
                bar.update()
        if retry and failures:
            _write_failures(out / FAILURES_FILE, failures)
        elif retry:
            (out / FAILURES_FILE).unlink(missing_ok=True)
        return RunSummary(
            done, before, [row for name, row in failures.items() if name in scans]
        )


def _check_source(folder: Path, scan: Path) -> None:
    """Raise if a complete folder belongs to another existing scan."""
    try:
        source = json.loads(read_text(folder / FINDINGS_FILE)).get('source')
        other = bool(source) and not os.path.samefile(source, scan)
    except (OSError, ValueError, AttributeError, TypeError):
        return  # moved scans and paths without the identity cannot be compared
    if other:
        raise ValueError(
            f'{folder}: the folder contains the results of another scan, {source}; '
            f'use another folder for {scan}'
        )


def _run_here(
    todo: Mapping[str, Path],
    out: Path,
    task: ScanTask,
    series_uid: str | None,
    readers: int,
) -> Iterator[tuple[str, str | None]]:
    scans = _read_ahead(list(todo.values()), series_uid, readers)
    for name, scan in zip(todo, scans):
        yield name, _run_task(scan, out, name, task)


def _read_ahead(
    paths: list[Path], series_uid: str | None, readers: int
) -> Iterator[LoadedScan | Exception]:
    """Read scans in worker processes, ahead of the caller.

    If a worker is killed, the scans that were being read are read again, each in a
    process of its own, so that only the scan that kills its process fails.
    """
    while paths:
        jobs = [(path, series_uid) for path in paths]
        try:
            for scan in map_ahead(_read, jobs, min(readers, len(jobs))):
                paths = paths[1:]
                yield scan
        except OSError as error:
            if error.errno != errno.ECHILD:
                raise
            for path in paths[: readers + 1]:
                yield _read_alone(path, series_uid)
            paths = paths[readers + 1 :]


def _read(path: str | Path, series_uid: str | None) -> LoadedScan | Exception:
    """Return a scan, or the exception of a scan that cannot be read."""
    try:
        return read_scan(path, series_uid)
    except Exception as error:
        return error


def _read_alone(path: Path, series_uid: str | None) -> LoadedScan | Exception:
    """Read a scan in a process of its own."""
    try:
        return next(map_ahead(_read, [(path, series_uid)], 1))
    except OSError as error:
        return RuntimeError(f'{path}: while the scan was read, {error.strerror}')


def _run_on_dask(
    todo: Mapping[str, Path],
    out: Path,
    task: ScanTask,
    series_uid: str | None,
    address: str,
    workers: int,
) -> Iterator[tuple[str, str | None]]:
    try:
        import cloudpickle  # also for tasks of the main program, as distributed itself
        from distributed import Client, KilledWorker, LocalCluster, as_completed
    except ImportError:
        raise ImportError(
            '--dask needs the package distributed: pip install mmlesion[scan]'
        ) from None
    if not todo:
        return
    cluster = (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            # None disables the dashboard; the type is inferred from the default
            dashboard_address=None,  # pyright: ignore[reportArgumentType]
        )
        if address == 'local'
        else None
    )
    content, settings = cloudpickle.dumps(task), _plain(task.settings())
    place = str(out.resolve())
    try:
        with Client(cluster or address) as client:

            def submit(name: str) -> Any:
                job = (str(todo[name].resolve()), series_uid, place, name)
                return client.submit(_read_and_run, *job, content, settings, pure=False)

            names = {submit(name): name for name in todo}
            suspects = []
            for future in as_completed(list(names)):
                if isinstance(future.exception(), KilledWorker):
                    suspects.append(names[future])
                else:
                    yield names[future], _outcome(future)
            # Scans that were queued in a killed worker are not the cause of its death
            for name in suspects:
                yield name, _outcome(submit(name))
    finally:
        if cluster is not None:
            cluster.close()


#: The task of a worker, with its networks; workers that join late need no broadcast.
_load_task = functools.lru_cache(maxsize=1)(pickle.loads)


def _outcome(future: Any) -> str | None:
    """Return None, or the reason why a scan has no results."""
    try:
        return future.result()
    except Exception as error:
        _raise_fatal(error)
        return _sentence(error)


def _read_and_run(
    path: str,
    series_uid: str | None,
    out: str,
    name: str,
    content: bytes,
    settings: dict[str, Any],
) -> str | None:
    """Read a scan and run the pickled task in a worker of a cluster."""
    task = _load_task(content)
    differing = _differing(settings, _plain(task.settings()))
    if differing:
        raise WorkerSettingsError(
            f'a worker has a different {differing} than the program that started the '
            'run; set --precision, because its default depends on the machine, and '
            'install the same version of this package on all machines'
        )
    return _run_task(_read(path, series_uid), Path(out), name, task)


def _run_task(
    scan: LoadedScan | Exception, out: Path, name: str, task: ScanTask
) -> str | None:
    """Write all results of a scan, or none.

    Returns:
        None, or the reason why there are no results.
    """
    if isinstance(scan, Exception):
        return _sentence(scan)
    if (out / name / FINDINGS_FILE).is_file():
        return None  # a cluster repeats a scan if it lost the answer of a killed worker
    partial = out / f'{name}{PARTIAL_SUFFIX}'
    try:
        shutil.rmtree(partial, ignore_errors=True)  # left by a killed worker
        partial.mkdir(parents=True)
        task(scan, partial)
        os.replace(partial, out / name)
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        _raise_fatal(error)
        return _sentence(error)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return None


def _raise_fatal(error: Exception) -> None:
    """Raise an error that all other scans would have as well."""
    if isinstance(error, WorkerSettingsError):
        raise error
    if isinstance(error, OSError) and error.errno in _FATAL:
        raise error


def _failure(name: str, path: Path, reason: str, keep_identity: bool) -> FailureRow:
    """Return the row of a failure; a path with patient identity is replaced."""
    identity = Identity.of_path(path)
    if keep_identity or not identity.is_in(f'{path} {reason}'):
        return FailureRow(name, str(path), reason)
    reason = reason.replace(str(path.resolve()), name).replace(str(path), name)
    return FailureRow(name, identity.remove(str(path)), identity.remove(reason))


def _sentence(error: BaseException) -> str:
    """Return the message of an error, with its type if it is not one for users."""
    text = ' '.join(str(error).split())
    if not isinstance(error, (ValueError, OSError, RuntimeError)):
        return f'{type(error).__name__}: {text}' if text else type(error).__name__
    return text or type(error).__name__


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as they are after reading them from JSON."""
    return json.loads(json.dumps(settings))


def _differing(settings: dict[str, Any], others: dict[str, Any]) -> str:
    """Return the names of the settings that differ, separated by commas."""
    names = {*settings, *others}
    return ', '.join(
        sorted(name for name in names if settings.get(name) != others.get(name))
    )


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Check that earlier results have the same settings."""
    settings = _plain(settings)
    if not path.is_file():
        write_json(path, settings, indent=2)
        return
    try:
        before = json.loads(path.read_text(encoding='utf-8'))
    except ValueError:
        raise ValueError(f'{path}: the file is damaged; use another folder') from None
    differing = _differing(before, settings)
    if differing:
        raise ValueError(
            f'{path.parent}: the folder contains results with a different '
            f'{differing}; use another folder'
        )


def read_failures(path: Path) -> dict[str, FailureRow]:
    """Return the rows of ``failures.csv`` by the name of the scan.

    Args:
        path: The csv; a missing file has no rows.

    Raises:
        ValueError: If the file is damaged.
    """
    if not path.is_file():
        return {}
    rows = read_csv_rows(
        path, FailureRow, 'scans', 'detection in scans', lambda row: None
    )
    return {row.name: row for row in rows}


def _write_failures(path: Path, failures: Mapping[str, FailureRow]) -> None:
    write_csv_rows(path, FailureRow, list(failures.values()))
