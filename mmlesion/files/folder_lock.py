"""Exclusive lock of a folder that a program writes to."""

import errno
import os
import os.path as osp
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from .atomic import PARTIAL_SUFFIX

_LOCK_NAME = '.lock'


@contextmanager
def lock_folder(folder: str) -> Iterator[int]:
    """Lock a folder; the system releases the lock when the process ends.

    Args:
        folder: An existing folder.

    Yields:
        File descriptor of the lock; -1 where the system has no such lock.

    Raises:
        BlockingIOError: If another process holds the lock.
    """
    try:
        import fcntl
    except ImportError:  # no such lock on this system
        yield -1
        return
    lock = os.open(osp.join(folder, _LOCK_NAME), os.O_CREAT | os.O_RDWR)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                errno.EWOULDBLOCK,
                f'{folder}: another process is writing to this folder',
            ) from None
        except OSError:
            pass  # a network disk without locks
        yield lock
    finally:
        os.close(lock)


def remove_partial(folder: str) -> None:
    """Remove the incomplete files and folders that a killed process left.

    Args:
        folder: The folder. Its subfolders are not searched.
    """
    for entry in os.scandir(folder):
        if entry.name.endswith(PARTIAL_SUFFIX):
            if entry.is_dir():
                shutil.rmtree(entry.path)
            else:
                os.remove(entry.path)
