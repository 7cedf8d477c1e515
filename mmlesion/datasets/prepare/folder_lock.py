"""One run at a time in a folder that is being prepared."""

import errno
import os
import os.path as osp
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from mmlesion.ct import PARTIAL_SUFFIX

_LOCK_NAME = '.lock'


@contextmanager
def hold_folder(folder: str) -> Iterator[int]:
    """Hold the folder's lock; the system frees it when the process ends.

    Args:
        folder (str): An existing folder.

    Yields:
        int: File descriptor of the lock, -1 where there are no locks.

    Raises:
        BlockingIOError: If another run holds it.
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
                f'{folder}: another prepare_data is at work in this folder',
            ) from None
        except OSError:
            pass  # a network disk without locks
        yield lock
    finally:
        os.close(lock)


def remove_partial(folder: str) -> None:
    """Remove what a killed run left half written.

    Args:
        folder (str): Where; not searched below.
    """
    for entry in os.scandir(folder):
        if entry.name.endswith(PARTIAL_SUFFIX):
            if entry.is_dir():
                shutil.rmtree(entry.path)
            else:
                os.remove(entry.path)
