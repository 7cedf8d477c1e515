"""Lock of a work directory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mmlesion.files import lock_folder

_RANKS = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')


@contextmanager
def lock_work_dir(work_dir: str | os.PathLike) -> Iterator[None]:
    """Prevent other training runs from using a work directory.

    If a training run has several processes, the first process holds the lock.

    Args:
        work_dir: The directory. It is created if necessary.

    Raises:
        BlockingIOError: If another process trains there. The message names the process.
    """
    if any(os.environ.get(name, '0') != '0' for name in _RANKS):
        yield
        return
    os.makedirs(work_dir, exist_ok=True)
    with lock_folder(work_dir, [os.fspath(work_dir)]):
        yield
