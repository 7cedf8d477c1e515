"""Exclusive lock of an output folder."""

import errno
import os
import os.path as osp
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from .atomic import PARTIAL_SUFFIX

_LOCK_NAME = '.lock'
_held: set[int] = set()  # file descriptors of the locks of this process


@contextmanager
def lock_folder(
    folder: str | os.PathLike, partial_in: Sequence[str] = ()
) -> Iterator[None]:
    """Lock a folder; the system releases the lock when the process ends.

    Processes that are forked from this process, such as loader workers, close their
    copy of the lock. After this process is killed, the folder is therefore free at
    once.

    Args:
        folder: An existing folder.
        partial_in: Folders whose incomplete files are removed on entering and leaving
            (:func:`remove_partial`).

    Raises:
        BlockingIOError: If another process has the lock. The message names it.
        OSError: If the lock cannot be created, e.g. without write permission.
    """
    lock = _acquire(os.fspath(folder))
    if lock >= 0:
        keep_lock(lock)
    try:
        for each in partial_in:
            remove_partial(each)
        try:
            yield
        finally:
            for each in partial_in:
                remove_partial(each)
    finally:
        release_lock(lock)


def keep_lock(lock: int) -> None:
    """Hold a lock until :func:`release_lock`; forked processes close their copy.

    Args:
        lock: File descriptor of the lock.
    """
    _held.add(lock)


def release_lock(lock: int) -> None:
    """Close a lock of this process. Nothing happens for a lock of its parent.

    Args:
        lock: File descriptor of the lock; -1 where the system has no such locks.
    """
    if lock in _held:
        _held.remove(lock)
        os.close(lock)


def _close_copies() -> None:
    while _held:
        os.close(_held.pop())


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_close_copies)


def _acquire(folder: str) -> int:
    try:
        import fcntl
    except ImportError:  # the system does not support such locks
        return -1
    # A link that was created by another user is not followed.
    flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.open(osp.join(folder, _LOCK_NAME), flags, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.write(lock, f'process {os.getpid()} on {socket.gethostname()}'.encode())
    except BlockingIOError:
        holder = os.read(lock, 200).decode(errors='replace') or 'unknown'
        os.close(lock)
        raise BlockingIOError(
            errno.EWOULDBLOCK,
            f'{folder}: another process is writing to this folder ({holder})',
        ) from None
    except OSError:
        pass  # a network file system without locks, or a full disk
    return lock


def remove_partial(folder: str | os.PathLike[str]) -> None:
    """Remove incomplete files and folders of an interrupted process.

    Args:
        folder: The folder. Its subfolders are not searched.
    """
    for entry in os.scandir(folder):
        if entry.name.endswith(PARTIAL_SUFFIX):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with suppress(FileNotFoundError):
                    os.remove(entry.path)
