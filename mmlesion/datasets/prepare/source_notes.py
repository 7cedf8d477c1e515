"""Notes on what prepared data were made from, and whether that is still the same."""

import hashlib
import json
import os
import os.path as osp
from collections.abc import Iterable, Sequence
from typing import Any

from mmlesion.files import describe_files, files_match, path_in, write_json

from ..sources.lidc_xml import ReaderNodule

#: Folder of the notes beside the prepared data.
NOTE_FOLDER = '.made_from'


def write_note(out_dir: str, name: str, paths: Iterable[str], more: Any = None) -> None:
    """Note the files that a product was made from.

    Args:
        out_dir: Folder of the prepared data.
        name: Name of the product.
        paths: The files.
        more: What else it depends on, as JSON has it.

    Raises:
        OSError: If a file cannot be read or the note cannot be written.
    """
    note = path_in(osp.join(out_dir, NOTE_FOLDER), name, '.json')
    write_json(note, dict(files=describe_files(paths), more=more))


def is_up_to_date(
    out_dir: str, name: str, paths: Iterable[str], more: Any = None
) -> bool:
    """Check whether a product was made from these files as they are now.

    Args:
        out_dir: Folder of the prepared data.
        name: Name of the product.
        paths: The files.
        more: As :func:`write_note`.

    Returns:
        False also where there is no note.
    """
    note = read_json_dict(path_in(osp.join(out_dir, NOTE_FOLDER), name, '.json'))
    return (
        'more' in note
        and note['more'] == more
        and files_match(paths, note.get('files'))
    )


def read_json_dict(path: str | os.PathLike) -> dict:
    """Read a JSON object; what is no JSON object is an empty one.

    Args:
        path: The file.

    Returns:
        The object, empty if the file is missing, damaged or holds something else.
    """
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def digest_nodules(
    nodules: Sequence[ReaderNodule], left_out_z_mm: Sequence[float] = ()
) -> str:
    """Hash of readers' outlines and ratings.

    Args:
        nodules: The nodules.
        left_out_z_mm: Where else readers marked nodules.

    Returns:
        The hash; it changes with every point and rating.
    """
    digest = hashlib.blake2b(repr(tuple(left_out_z_mm)).encode(), digest_size=16)
    for nodule in nodules:
        digest.update(repr((nodule.reader, sorted(nodule.ratings.items()))).encode())
        for one in nodule.contours:
            digest.update(repr((one.z_mm, one.included, one.sop_uid)).encode())
            digest.update(one.points_px.tobytes())
    return digest.hexdigest()
