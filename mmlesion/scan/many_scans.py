"""Resumable runs over many scans, in one process or on a Dask cluster."""

import errno
import json
import os
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
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ECHILD)


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
        _check_settings(out / RUN_FILE, task.settings())
        remove_partial(os.fspath(out))
        before = [name for name in scans if (out / name / FINDINGS_FILE).is_file()]
        for name in before:
            _check_source(out / name, scans[name])
        failures = {} if retry else _read_failures(out / FAILURES_FILE)
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
        if retry and not failures:
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
    jobs = ((path, series_uid) for path in todo.values())
    workers = min(readers, len(todo))
    for name, scan in zip(todo, map_ahead(read_scan, jobs, workers)):
        yield name, _run_task(scan, out, name, task)


def _run_on_dask(
    todo: Mapping[str, Path],
    out: Path,
    task: ScanTask,
    series_uid: str | None,
    address: str,
    workers: int,
) -> Iterator[tuple[str, str | None]]:
    try:
        from distributed import Client, LocalCluster, as_completed
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
    try:
        with Client(cluster or address) as client:
            everywhere = client.scatter(task, broadcast=True)
            futures = [
                client.submit(
                    _read_and_run,
                    str(path.resolve()),
                    series_uid,
                    str(out.resolve()),
                    name,
                    everywhere,
                    pure=False,
                )
                for name, path in todo.items()
            ]
            names = dict(zip(futures, todo))
            for future in as_completed(futures):
                yield names[future], future.result()
    finally:
        if cluster is not None:
            cluster.close()


def _read_and_run(
    path: str, series_uid: str | None, out: str, name: str, task: ScanTask
) -> str | None:
    """Read a scan and run the task in a worker of a cluster."""
    try:
        scan: LoadedScan | Exception = read_scan(path, series_uid)
    except (OSError, ValueError) as error:
        scan = error
    return _run_task(scan, Path(out), name, task)


def _run_task(
    scan: LoadedScan | Exception, out: Path, name: str, task: ScanTask
) -> str | None:
    """Write all results of a scan, or none.

    Returns:
        None, or the reason why there are no results.
    """
    if isinstance(scan, Exception):
        return _sentence(scan)
    partial = out / f'{name}{PARTIAL_SUFFIX}'
    try:
        partial.mkdir(parents=True)
        task(scan, partial)
        os.replace(partial, out / name)
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in _FATAL:
            raise
        return _sentence(error)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return None


def _failure(name: str, path: Path, reason: str, keep_identity: bool) -> FailureRow:
    """Return the row of a failure; a path with patient identity is replaced."""
    identity = Identity.of_path(path)
    if keep_identity or not identity.is_in(f'{path} {reason}'):
        return FailureRow(name, str(path), reason)
    reason = reason.replace(str(path.resolve()), name).replace(str(path), name)
    return FailureRow(name, identity.remove(str(path)), identity.remove(reason))


def _sentence(error: BaseException) -> str:
    return ' '.join(str(error).split()) or type(error).__name__


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Check that earlier results have the same settings."""
    settings = json.loads(json.dumps(settings))
    if not path.is_file():
        write_json(path, settings, indent=2)
        return
    try:
        before = json.loads(path.read_text(encoding='utf-8'))
    except ValueError:
        raise ValueError(f'{path}: the file is damaged; use another folder') from None
    differing = sorted(
        key for key in {*before, *settings} if before.get(key) != settings.get(key)
    )
    if differing:
        raise ValueError(
            f'{path.parent}: the folder contains results with a different '
            f'{", ".join(differing)}; use another folder'
        )


def _read_failures(path: Path) -> dict[str, FailureRow]:
    if not path.is_file():
        return {}
    rows = read_csv_rows(
        path, FailureRow, 'scans', 'detection in scans', lambda row: None
    )
    return {row.name: row for row in rows}


def _write_failures(path: Path, failures: Mapping[str, FailureRow]) -> None:
    write_csv_rows(path, FailureRow, list(failures.values()))
