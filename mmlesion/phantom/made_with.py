"""Output folders of simulated data sets: resumable, locked, renamed when complete."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mmlesion.files import (
    PARTIAL_SUFFIX,
    keep_lock,
    release_lock,
    run_in_parallel,
    write_json,
)

_NOTE = 'phantom.json'
_ROWS = 'rows'


@contextmanager
def build_folder(
    out_dir: Path, settings: dict, folders: Sequence[str] = ()
) -> Iterator[Path | None]:
    """Build a data set in ``<out_dir>.partial`` and rename the folder at the end.

    An interrupted run resumes with the same folder. The intermediate results in the
    subfolder ``rows`` are removed after the renaming.

    Args:
        out_dir: The output folder.
        settings: Settings of the data set, written to ``phantom.json``.
        folders: Subfolders to create in addition to ``rows``.

    Yields:
        The folder to write to, or None if the data set is already complete.

    Raises:
        BlockingIOError: If another process is building the same data set.
        FileExistsError: If the folder contains anything else.
    """
    if _is_same(out_dir, settings):
        shutil.rmtree(out_dir / _ROWS, ignore_errors=True)
        yield None
        return
    partial = out_dir.with_name(out_dir.name + PARTIAL_SUFFIX)
    lock = _make_and_lock(partial)
    try:
        if _is_same(out_dir, settings):  # another process has just completed it
            shutil.rmtree(partial, ignore_errors=True)
            yield None
            return
        _prepare(partial, settings, (_ROWS, *folders))
        yield partial
        os.replace(partial, out_dir)
        shutil.rmtree(out_dir / _ROWS)
    finally:
        release_lock(lock)


def simulate_missing(
    write: Callable[[tuple], Any],
    jobs: Mapping[str, tuple],
    partial: Path,
    out_dir: Path,
    workers: int,
    unit: str,
    sizes: Sequence[int] | None = None,
) -> list[Any]:
    """Run the jobs that have no rows yet, and return the rows of all jobs.

    Args:
        write: Function of a module that runs a job and writes its rows to
            ``rows/<name>.json``.
        jobs: Arguments of each job by name.
        partial: The folder to write to, from :func:`build_folder`.
        out_dir: The output folder, for the progress bar.
        workers: Number of processes.
        unit: What the progress bar counts.
        sizes: Number of units of each job, 1 by default.

    Returns:
        The rows of each job, in the order of ``jobs``.
    """
    folder = partial / _ROWS
    done = {path.stem for path in folder.glob('*.json')}
    size_of = dict(zip(jobs, sizes or [1] * len(jobs)))
    todo = [name for name in jobs if name not in done]
    with tqdm(
        total=sum(size_of.values()),
        initial=sum(size for name, size in size_of.items() if name in done),
        desc=f'Simulating {out_dir}',
        unit=unit,
    ) as bar:
        for number, _ in run_in_parallel(
            write,
            [(jobs[name],) for name in todo],
            workers,
            unit='scans' if unit == 'scan' else 'patients',
            raise_errors=True,
        ):
            bar.update(size_of[todo[number]])
    return [json.loads((folder / f'{name}.json').read_text()) for name in jobs]


def _is_same(folder: Path, settings: dict) -> bool:
    """Return whether the folder exists with these settings; raise if they differ."""
    if not folder.exists():
        return False
    note = folder / _NOTE
    if not note.is_file():
        if folder.is_dir() and not any(folder.iterdir()):
            return False
        raise FileExistsError(
            f'{folder} exists and was not written by mmlesion phantom: '
            'choose another folder or remove it'
        )
    try:
        found = json.loads(note.read_text(encoding='utf-8'))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise FileExistsError(
            f'{note} is damaged: choose another folder or remove {folder}'
        )
    keys = [*settings, *(key for key in found if key not in settings)]
    other = [key for key in keys if found.get(key) != settings.get(key)]
    if other:
        raise FileExistsError(
            f'{folder} holds a phantom with other settings ({other[0]}='
            f'{found.get(other[0])} instead of {settings.get(other[0])}): choose '
            'another folder or remove it'
        )
    return True


def _make_and_lock(partial: Path) -> int:
    """Create the folder and lock it; the lock needs no additional file."""
    partial.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # the system does not support such locks
        return -1
    lock = os.open(partial, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise BlockingIOError(
            errno.EWOULDBLOCK, f'{partial}: another process is writing to this folder'
        ) from None
    except OSError:
        pass  # a network file system without locks
    if not partial.exists() or not os.path.samestat(os.fstat(lock), partial.stat()):
        os.close(lock)  # the folder was renamed in the meantime
        return _make_and_lock(partial)
    keep_lock(lock)
    return lock


def _prepare(partial: Path, settings: dict, folders: Sequence[str]) -> None:
    """Create missing folders, and remove incomplete files of an interrupted run."""
    left = {path.name for path in partial.iterdir()} - set(folders)
    if (partial / _NOTE).exists() or not all(
        name.startswith(_NOTE) and name.endswith(PARTIAL_SUFFIX) for name in left
    ):
        _is_same(partial, settings)
    for path in list(partial.rglob(f'*{PARTIAL_SUFFIX}')):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for name in folders:
        (partial / name).mkdir(exist_ok=True)
    if not (partial / _NOTE).exists():
        write_json(partial / _NOTE, settings, indent=2)
