"""Atomic file writes: a file is either complete or absent."""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

# Suffix of incomplete files and folders.
PARTIAL_SUFFIX = '.partial'


@contextmanager
def atomic_file(
    path: str | os.PathLike, mode: str = 'wb', newline: str | None = None
) -> Iterator[IO]:
    """Open a file for writing that gets its final name only when it is complete.

    The data are written to a new file in the same folder, which is flushed to disk and
    renamed. The new file is created exclusively, so a link that another
    user has placed there is never followed. After an interruption, the previous
    file is unchanged, and at most one file with the suffix ``.partial`` remains.

    Args:
        path: Output file; replaced if it exists. Its folder is created.
        mode: ``'wb'`` or ``'w'`` (UTF-8).
        newline: As in :func:`open`.

    Yields:
        The file to write to.

    Raises:
        OSError: If the file cannot be written. No partial file remains.
    """
    path = os.fspath(path)
    folder, name = os.path.split(path)
    os.makedirs(folder or '.', exist_ok=True)
    descriptor, partial = tempfile.mkstemp(PARTIAL_SUFFIX, f'{name}.', folder or '.')
    try:
        encoding = None if 'b' in mode else 'utf-8'
        with open(descriptor, mode, newline=newline, encoding=encoding) as file:
            os.chmod(
                partial, 0o666 & ~_umask()
            )  # mkstemp gives access to the owner only
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
    """Yield a temporary path for a library to write to, and rename it at the end.

    This is for writers that require a path instead of an open file and select the
    format by its suffix. The path is in a new folder that only this user can access.

    Args:
        path: Output file; replaced if it exists. Its folder must exist.

    Yields:
        The temporary path.

    Raises:
        OSError: If the file cannot be written. No partial file remains.
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
    """Write a UTF-8 text file with :func:`atomic_file`.

    Args:
        path: Output file; replaced if it exists.
        text: Content of the file.

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
        content: An object for :func:`json.dumps`.
        indent: As in :func:`json.dumps`.
        **options: Further arguments of :func:`json.dumps`.

    Raises:
        OSError: If the file cannot be written.
        TypeError: If ``content`` contains a value that JSON does not support.
    """
    text = json.dumps(plain_json(content), indent=indent, allow_nan=False, **options)
    write_text(path, text + '\n')


def plain_json(content: Any) -> Any:
    """Replace every NaN and infinity at any depth by None.

    Args:
        content: Dicts, lists, tuples and values. NumPy numbers are converted to Python.

    Returns:
        The same content as dicts, lists and values that JSON supports.
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
    """Flush a folder to disk, so that a renaming survives a power failure.

    Args:
        folder: The folder; an empty name is the current folder. On systems that cannot
            open or flush folders, this function does nothing.
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
    """Return the umask of the process, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
