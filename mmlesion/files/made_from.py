"""Records of the input files of a product."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

_BLOCK = 1 << 20


def describe_files(paths: Iterable[str | os.PathLike]) -> dict[str, list]:
    """Describe files by size, modification time and content hash.

    Args:
        paths: Files that differ in their name or in the name of their folder.

    Returns:
        ``[size, time in ns, hash]`` by ``folder/name``, serializable as JSON.

    Raises:
        OSError: If a file cannot be read.
    """
    found = {}
    for path in sorted(os.fspath(path) for path in paths):
        state = os.stat(path)
        found[_name(path)] = [state.st_size, state.st_mtime_ns, _hash(path)]
    return found


def files_match(paths: Iterable[str | os.PathLike], described: Any) -> bool:
    """Return whether files still match a description.

    The content is read only if the modification time differs and the size does not, so
    a copied or touched data set does not count as changed.

    Args:
        paths: The files.
        described: From :func:`describe_files`; any other value matches nothing.

    Returns:
        Whether names and contents are unchanged.
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
    """Return the paths of the files in a folder, or the path of a single file.

    Args:
        folder: The folder, without its subfolders, or a file.

    Returns:
        The paths sorted by name, without hidden files.
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
