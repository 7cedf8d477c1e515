"""Lock of a work directory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mmlesion.files import lock_folder

_RANKS = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')


@contextmanager
def lock_work_dir(work_dir: str | os.PathLike) -> Iterator[None]:
    """Prevent other training runs from using a work directory.

    If a training run has several processes, the first process holds the lock. Processes
    that are forked from it, such as loader workers, close their copy of the lock. After
    the training process is killed, the folder is therefore free at once.

    Args:
        work_dir: The directory. It is created if necessary.

    Raises:
        BlockingIOError: If another process trains there. The message names the process.
    """
    if any(os.environ.get(name, '0') != '0' for name in _RANKS):
        yield
        return
    os.makedirs(work_dir, exist_ok=True)
    with lock_folder(work_dir, [os.fspath(work_dir)]) as lock:
        held = [lock] if lock >= 0 else []

        def close_copy() -> None:
            while held:
                os.close(held.pop())

        if hasattr(os, 'register_at_fork'):
            os.register_at_fork(after_in_child=close_copy)
        try:
            yield
        finally:
            held.clear()  # handlers of a fork cannot be removed
