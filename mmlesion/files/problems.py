"""Text file with the problems of a data preparation."""

import os
from collections.abc import Sequence

from .atomic import write_text


def write_problems(path: str | os.PathLike, problems: Sequence[str]) -> None:
    """Write one sentence per line, or remove the file if there are no problems.

    Args:
        path: The file.
        problems: The sentences.

    Raises:
        OSError: If the file cannot be written.
    """
    if problems:
        write_text(path, ''.join(f'{problem}\n' for problem in problems))
    elif os.path.exists(path):
        os.remove(path)
