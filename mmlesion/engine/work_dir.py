"""Exclusive use of a work directory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mmlesion.files import lock_folder

_RANKS = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')


@contextmanager
def lock_work_dir(work_dir: str | os.PathLike) -> Iterator[None]:
    """Keep other trainings out of a work directory.

    If a training has several processes, the first process holds the directory.

    Args:
        work_dir: The directory. It is created.

    Raises:
        BlockingIOError: If another process trains there. The message names the process.
    """
    if any(os.environ.get(name, '0') != '0' for name in _RANKS):
        yield
        return
    os.makedirs(work_dir, exist_ok=True)
    with lock_folder(work_dir, [os.fspath(work_dir)]):
        yield
