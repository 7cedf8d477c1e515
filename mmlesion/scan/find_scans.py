"""Search for scans in a folder or a list, and names for their results."""

import contextlib
import hashlib
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mmlesion.ct import VOLUME_SUFFIXES
from mmlesion.ct.dicom_folder import starts_like_dicom
from mmlesion.files import read_text

from .identity import Identity

#: Ending of a text file that lists one scan per line.
LIST_SUFFIX = '.txt'
#: File in the folder of the results of a scan. It has a hash of the path of the scan.
SCAN_HASH_FILE = 'scan.sha256'


def find_scans(path: str | os.PathLike[str]) -> dict[str, Path]:
    """Find the scans that a path denotes.

    - A NIfTI, MetaImage or NRRD file is one scan.
    - A text file (``.txt``) lists one scan per line, relative to its folder. Empty
      lines and lines that begin with ``#`` are skipped.
    - A folder denotes all scans in it, at any depth: its volume files, the scans of its
      subfolders and, if it contains DICOM files, the folder itself. Subfolders of a
      DICOM scan without any scan, such as thumbnails, are ignored. Any other folder
      without a scan is returned as a scan, so that its error is reported.

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
        if not any(path.iterdir()):
            raise ValueError(f'{path}: the folder is empty, expected a scan')
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


def scan_folder(
    out_dir: str | os.PathLike[str],
    scan: str | os.PathLike[str],
    keep_identity: bool = False,
) -> Path:
    """Create the folder of the results of one scan.

    The name of the folder is the name of the scan in :func:`find_scans`. If another
    scan, or another program, has this folder, the name of the folder of the scan is put
    in front (``P2_ct`` for ``P2/ct.nii.gz``), with a number if necessary. A scan that
    already has a folder gets the same folder again.

    Args:
        out_dir: Folder of the results of all scans.
        scan: File of a scan, or folder of one DICOM scan.
        keep_identity: Whether the name of the folder may contain the identity of the
            patient.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: If the scan does not exist.
        OSError: If the folder cannot be written.
    """
    path = Path(scan)
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such file or folder')
    parent = path.resolve().parent if path.is_dir() else path.absolute().parent
    names = [name for root in (parent, parent.parent) for name in _named([path], root)]
    if not keep_identity:
        names = Identity.of_path(path).remove(names)
    key = hashlib.sha256(os.path.realpath(path).encode()).hexdigest()
    more = (f'{names[-1]}_{number}' for number in itertools.count(2))
    folders = (Path(out_dir) / name for name in itertools.chain(names, more))
    return next(folder for folder in folders if _claim(folder, key))


@contextlib.contextmanager
def open_scan_folder(
    out_dir: str | os.PathLike[str],
    scan: str | os.PathLike[str],
    keep_identity: bool = False,
) -> Iterator[Path]:
    """Create the folder of the results of one scan; remove it after an error.

    After an error, the folder is removed if it contains no results.

    Args:
        out_dir: See :func:`scan_folder`.
        scan: See :func:`scan_folder`.
        keep_identity: See :func:`scan_folder`.

    Yields:
        The folder.

    Raises:
        FileNotFoundError: See :func:`scan_folder`.
        OSError: See :func:`scan_folder`.
    """
    existed = Path(out_dir).exists()
    folder = scan_folder(out_dir, scan, keep_identity)
    try:
        yield folder
    except BaseException:
        if [path.name for path in folder.iterdir()] == [SCAN_HASH_FILE]:
            (folder / SCAN_HASH_FILE).unlink()
            folder.rmdir()
            if not existed and not any(Path(out_dir).iterdir()):
                Path(out_dir).rmdir()
        raise


def _claim(folder: Path, key: str) -> bool:
    """Mark an empty folder with a key; return whether the folder has this key."""
    mark = folder / SCAN_HASH_FILE
    if not mark.exists() and folder.is_dir() and any(folder.iterdir()):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with open(mark, 'x', encoding='utf-8') as file:
            file.write(key)
    except FileExistsError:
        return read_text(mark) == key
    return True


def _in_folder(folder: Path, in_series: bool = False) -> list[Path]:
    """Return the scans of a folder.

    Args:
        folder: The folder.
        in_series: Whether the folder is inside the folder of a DICOM scan.
    """
    entries = sorted(each for each in folder.iterdir() if not each.name.startswith('.'))
    has_dicom = any(_is_dicom(each) for each in entries)
    found = [folder] if has_dicom else []
    for entry in entries:
        if entry.is_dir():
            found += _in_folder(entry, in_series or has_dicom)
        elif entry.name.lower().endswith(VOLUME_SUFFIXES):
            found.append(entry)
    return found if found or in_series else [folder]


def _is_dicom(path: Path) -> bool:
    """Return whether a path is a DICOM file other than the index of a medium."""
    if path.name == 'DICOMDIR' or not path.is_file():
        return False
    return path.suffix.lower() == '.dcm' or starts_like_dicom(os.fspath(path))


def _named(scans: list[Path], root: Path) -> dict[str, Path]:
    def name(path: Path, with_suffix: bool) -> str:
        try:
            text = path.resolve().relative_to(root.resolve()).as_posix()
        except ValueError:
            text = path.name
        if text == '.':  # a DICOM scan that contains other scans
            text = path.resolve().name
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
