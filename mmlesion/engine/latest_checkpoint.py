"""Selection of the checkpoint from which a training resumes."""

import logging
import os
from pathlib import Path

from mmengine.logging import print_log

from .checkpoint import read_checkpoint

#: Keys other than the weights that are required for resuming.
_OF_TRAINING = ('meta', 'message_hub', 'optimizer')


def find_newest_checkpoint(
    folder: str | os.PathLike, logger: logging.Logger | str | None = 'current'
) -> str | None:
    """Find the newest readable checkpoint of a training.

    MMEngine's file ``last_checkpoint`` contains the path of the newest checkpoint.
    After an interruption or on a full disk, the file may be empty or refer to a missing
    file, and the folder may have been moved. The other checkpoints are then tried,
    newest first, and a warning is logged.

    Args:
        folder: The work directory.
        logger: Logger of the warning.

    Returns:
        The file, or None if the folder has no checkpoint.

    Raises:
        ValueError: If there are checkpoints but none can be read. The message names
            the newest checkpoint.
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


def _by_age(folder: Path) -> list[Path]:
    """Return the checkpoints of a training, newest first, without ``best_*``."""
    paths = [path for path in folder.glob('*.pth') if not path.name.startswith('best_')]
    return sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _problem(path: Path) -> str | None:
    """Return why a training cannot resume from a file; None if it can."""
    try:
        checkpoint = read_checkpoint(path)
    except (OSError, ValueError) as error:
        return str(error)
    missing = next((key for key in _OF_TRAINING if key not in checkpoint), None)
    if missing is not None:
        return f'Checkpoint {path} has no {missing}, which resuming needs.'
    return None
