"""Search for scans in a folder or a list, and names for their results."""

import os
import re
from collections import Counter
from pathlib import Path

from mmlesion.ct import VOLUME_SUFFIXES
from mmlesion.files import read_text

#: Ending of a text file that lists one scan per line.
LIST_SUFFIX = '.txt'


def find_scans(path: str | os.PathLike[str]) -> dict[str, Path]:
    """Find the scans that a path denotes.

    - A NIfTI, MetaImage or NRRD file is one scan.
    - A text file (``.txt``) lists one scan per line, relative to its folder. Empty
      lines and lines that begin with ``#`` are skipped.
    - A folder that contains volume files or subfolders denotes all scans in it, at any
      depth. A folder that contains only other files is one DICOM scan.

    Args:
        path: File or folder.

    Returns:
        Paths of the scans by name. A name is derived from the path below ``path``, is
        unique and is a valid folder name.

    Raises:
        FileNotFoundError: If the file or folder does not exist.
        ValueError: If a folder is empty or a list names no scan.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such file or folder')
    root = path.parent
    if path.is_dir():
        scans = _in_folder(path)
        root = path if scans != [path] else path.resolve().parent
    elif path.suffix.lower() == LIST_SUFFIX:
        lines = read_text(path).splitlines()
        names = [line.strip() for line in lines]
        scans = [root / name for name in names if name and not name.startswith('#')]
    else:
        scans = [path]
    if not scans:
        raise ValueError(f'{path}: no scan was found')
    return _named(scans, root)


def _in_folder(folder: Path) -> list[Path]:
    entries = sorted(each for each in folder.iterdir() if not each.name.startswith('.'))
    if not entries:
        raise ValueError(f'{folder}: the folder is empty, expected a scan')
    found: list[Path] = []
    for entry in entries:
        if entry.is_dir():
            found += _in_folder(entry) if any(entry.iterdir()) else [entry]
        elif entry.name.lower().endswith(VOLUME_SUFFIXES):
            found.append(entry)
    others = any(
        each.is_file() and not each.name.lower().endswith(VOLUME_SUFFIXES)
        for each in entries
    )
    # Files without a known suffix beside volumes or subfolders are not scans
    return found or ([folder] if others else [])


def _named(scans: list[Path], root: Path) -> dict[str, Path]:
    def name(path: Path, with_suffix: bool) -> str:
        try:
            text = path.resolve().relative_to(root.resolve()).as_posix()
        except ValueError:
            text = path.name
        lower = text.lower()
        for suffix in sorted(VOLUME_SUFFIXES, key=len, reverse=True):
            if not with_suffix and lower.endswith(suffix) and not path.is_dir():
                text = text[: -len(suffix)]
                break
        return re.sub(r'[^\w.-]+', '_', text).strip('._') or 'scan'

    count = Counter(name(path, False).lower() for path in scans)
    named: dict[str, Path] = {}
    for path in scans:
        own = name(path, count[name(path, False).lower()] > 1)
        unique, number = own, 2
        while unique.lower() in (each.lower() for each in named):
            unique, number = f'{own}_{number}', number + 1
        named[unique] = path
    return named
