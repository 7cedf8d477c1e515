"""Records of the input files of prepared data, used to detect changed inputs."""

import hashlib
import json
import os
import os.path as osp
from collections.abc import Iterable, Sequence
from typing import Any

from mmlesion.files import describe_files, files_match, path_in, write_json

from ..sources.lidc_xml import ReaderNodule

#: Folder of the records next to the prepared data.
NOTE_FOLDER = '.made_from'


def write_note(out_dir: str, name: str, paths: Iterable[str], more: Any = None) -> None:
    """Record the input files of a product.

    Args:
        out_dir: Folder of the prepared data.
        name: Name of the product.
        paths: The files.
        more: Other inputs, serializable as JSON.

    Raises:
        OSError: If a file cannot be read or the record cannot be written.
    """
    note = path_in(osp.join(out_dir, NOTE_FOLDER), name, '.json')
    write_json(note, dict(files=describe_files(paths), more=more))


def is_up_to_date(
    out_dir: str, name: str, paths: Iterable[str], more: Any = None
) -> bool:
    """Return whether a product was made from the current state of these files.

    Args:
        out_dir: Folder of the prepared data.
        name: Name of the product.
        paths: The files.
        more: As :func:`write_note`.

    Returns:
        True if the record matches; False if it differs or does not exist.
    """
    note = read_json_dict(path_in(osp.join(out_dir, NOTE_FOLDER), name, '.json'))
    return (
        'more' in note
        and note['more'] == more
        and files_match(paths, note.get('files'))
    )


def read_json_dict(path: str | os.PathLike) -> dict:
    """Read a JSON object, or return an empty dict.

    Args:
        path: The file.

    Returns:
        The object; empty if the file is missing, damaged or not a JSON object.
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
    """Compute a hash of the readers' outlines and ratings.

    Args:
        nodules: The nodules.
        left_out_z_mm: Other positions at which readers marked nodules.

    Returns:
        The hash, which depends on all points and ratings.
    """
    digest = hashlib.blake2b(repr(tuple(left_out_z_mm)).encode(), digest_size=16)
    for nodule in nodules:
        digest.update(repr((nodule.reader, sorted(nodule.ratings.items()))).encode())
        for one in nodule.contours:
            digest.update(repr((one.z_mm, one.included, one.sop_uid)).encode())
            digest.update(one.points_px.tobytes())
    return digest.hexdigest()
