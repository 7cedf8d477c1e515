"""Records of the files that a product was made from."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

_BLOCK = 1 << 20


def describe_files(paths: Iterable[str | os.PathLike]) -> dict[str, list]:
    """Describe files by size, time of change and hash of their content.

    Args:
        paths: Files that differ in the name or in the name of their folder.

    Returns:
        ``[size, time in ns, hash]`` by ``folder/name``, ready for JSON.

    Raises:
        OSError: If a file cannot be read.
    """
    found = {}
    for path in sorted(os.fspath(path) for path in paths):
        state = os.stat(path)
        found[_name(path)] = [state.st_size, state.st_mtime_ns, _hash(path)]
    return found


def files_match(paths: Iterable[str | os.PathLike], described: Any) -> bool:
    """Check whether files still match a description.

    The content is read only if the time of change differs and the size does not, so
    that a copied or touched data set does not count as changed.

    Args:
        paths: The files.
        described: From :func:`describe_files`; anything else matches nothing.

    Returns:
        Whether names and contents are the same.
    """
    by_name = {_name(path): os.fspath(path) for path in paths}
    if not isinstance(described, Mapping) or set(described) != set(by_name):
        return False
    for name, path in by_name.items():
        entry = described[name]
        if not (isinstance(entry, list) and len(entry) == 3):
            return False
        state = os.stat(path)
        if state.st_size != entry[0]:
            return False
        if state.st_mtime_ns != entry[1] and _hash(path) != entry[2]:
            return False
    return True


def list_files(folder: str | os.PathLike) -> list[str]:
    """Paths of the files of a folder, or the path of a single file.

    Args:
        folder: The folder (its subfolders are left out) or a file.

    Returns:
        The paths in the order of names; hidden files are left out.
    """
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        return [folder]
    return sorted(
        entry.path
        for entry in os.scandir(folder)
        if entry.is_file() and not entry.name.startswith('.')
    )


def _name(path: str | os.PathLike) -> str:
    folder, name = os.path.split(os.path.abspath(path))
    return f'{os.path.basename(folder)}/{name}'


def _hash(path: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, 'rb') as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
