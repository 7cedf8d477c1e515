"""The checkpoint that a broken training goes on from."""

import logging
import os
from pathlib import Path

from mmengine.logging import print_log

from .checkpoint import read_checkpoint

#: What a training needs beside the weights to go on.
_OF_TRAINING = ('meta', 'message_hub', 'optimizer')


def find_newest_checkpoint(
    folder: str | os.PathLike, logger: logging.Logger | str | None = 'current'
) -> str | None:
    """Find the newest checkpoint of a training that can be read.

    MMEngine's file ``last_checkpoint`` names the newest. After a kill or on a full
    disk it may be empty or name a file that is not there, and the folder may have
    been moved; the others are then tried, the newest first, and a warning says so.

    Args:
        folder: The work directory.
        logger: Where the warning goes.

    Returns:
        The file, or None if the folder has no checkpoint.

    Raises:
        ValueError: If there are checkpoints but none can be read; names the newest.
    """
    folder = Path(folder)
    note = folder / 'last_checkpoint'
    named = Path(note.read_text(errors='replace').strip()) if note.is_file() else None
    candidates = _by_age(folder)
    if named is not None and named.name:
        moved = folder / named.name
        named = moved if moved.is_file() else named
        if named.parent.resolve() != folder.resolve():
            candidates = _by_age(named.parent) + candidates
        candidates = [named] + [path for path in candidates if path != named]
    problems = []
    for path in candidates:
        problem = _problem(path)
        if problem is None:
            if problems:
                print_log(
                    f'{problems[0]} Resuming from {path} instead.',
                    logger=logger,
                    level=logging.WARNING,
                )
            return str(path)
        problems.append(problem)
    if any(path.exists() for path in candidates):
        raise ValueError(
            f'{problems[0]} No checkpoint in {folder} can be resumed from; remove '
            'them to start from the beginning.'
        )
    if problems:
        print_log(
            f'{problems[0]} Starting from the beginning.',
            logger=logger,
            level=logging.WARNING,
        )
    return None


def _by_age(folder):
    """Checkpoints of a training in a folder, the newest first; not the best ones."""
    paths = [path for path in folder.glob('*.pth') if not path.name.startswith('best_')]
    return sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _problem(path):
    """One sentence on why a training cannot go on from a file; None if it can."""
    try:
        checkpoint = read_checkpoint(path)
    except (OSError, ValueError) as error:
        return str(error)
    missing = next((key for key in _OF_TRAINING if key not in checkpoint), None)
    if missing is not None:
        return f'Checkpoint {path} has no {missing}, which resuming needs.'
    return None
