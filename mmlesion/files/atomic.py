"""Atomic writes: a file is complete under its name, or it is not there."""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

# Ending of a file or folder that is not complete yet.
PARTIAL_SUFFIX = '.partial'


@contextmanager
def atomic_file(
    path: str | os.PathLike, mode: str = 'wb', newline: str | None = None
) -> Iterator[IO]:
    """Open a file that appears under its name only when it is complete.

    The bytes go to a new file in the same folder, which is flushed to the disk and
    then renamed. The new file is created exclusively, so that a link that another
    user has placed there is never followed. A kill at any moment leaves the previous
    file, and at most one file with the ending ``.partial``.

    Args:
        path: The file. An existing file is replaced. The folder is created.
        mode: ``'wb'`` or ``'w'`` (UTF-8).
        newline: As in :func:`open`.

    Yields:
        The file to write to.

    Raises:
        OSError: If the file cannot be written. Nothing remains of it.
    """
    path = os.fspath(path)
    folder, name = os.path.split(path)
    os.makedirs(folder or '.', exist_ok=True)
    descriptor, partial = tempfile.mkstemp(PARTIAL_SUFFIX, f'{name}.', folder or '.')
    try:
        encoding = None if 'b' in mode else 'utf-8'
        with open(descriptor, mode, newline=newline, encoding=encoding) as file:
            os.chmod(partial, 0o666 & ~_umask())  # mkstemp allows the owner only
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.remove(partial)
        raise
    sync_folder(folder)


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[str]:
    """Name for a library to write to; the file then appears under its own name.

    For writers that take a name rather than an open file and choose the format by its
    ending. The name lies in a new folder that only this user can enter.

    Args:
        path: The file. An existing file is replaced. Its folder must exist.

    Yields:
        The name to write to.

    Raises:
        OSError: If the file cannot be written. Nothing remains of it.
    """
    path = os.fspath(path)
    folder, name = os.path.split(path)
    partial = tempfile.mkdtemp(PARTIAL_SUFFIX, f'{name}.', folder or '.')
    try:
        written = os.path.join(partial, name)
        yield written
        descriptor = os.open(written, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(written, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    sync_folder(folder)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text in UTF-8 with :func:`atomic_file`.

    Args:
        path: Output file; replaced if it exists.
        text: Its content.

    Raises:
        OSError: If the file cannot be written.
    """
    with atomic_file(path, 'w') as file:
        file.write(text)


def write_json(
    path: str | os.PathLike, content: Any, indent: int | None = None, **options: Any
) -> None:
    """Write JSON with :func:`atomic_file`; NaN and infinity become ``null``.

    Args:
        path: Output file; replaced if it exists.
        content: What :func:`json.dumps` takes.
        indent: As in :func:`json.dumps`.
        **options: Further arguments of :func:`json.dumps`.

    Raises:
        OSError: If the file cannot be written.
        TypeError: If ``content`` holds a value that JSON does not have.
    """
    text = json.dumps(plain_json(content), indent=indent, allow_nan=False, **options)
    write_text(path, text + '\n')


def plain_json(content: Any) -> Any:
    """Replace every NaN and infinity at any depth by None.

    Args:
        content: Dicts, lists, tuples and values. NumPy numbers become Python's.

    Returns:
        The same content as dicts, lists and values that JSON has.
    """
    if isinstance(content, dict):
        return {key: plain_json(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain_json(value) for value in content]
    if hasattr(content, 'tolist'):  # NumPy arrays and numbers
        return plain_json(content.tolist())
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def sync_folder(folder: str | os.PathLike) -> None:
    """Flush a folder to the disk, so that a renaming survives a loss of power.

    Args:
        folder: The folder; an empty name is the current folder. Systems that cannot
            open or flush folders are left as they are.
    """
    try:
        descriptor = os.open(folder or '.', os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _umask() -> int:
    """The process's mask of file permissions, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
