"""Annotation file of a data set's config."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS


def annotation_file(dataset: Mapping[str, Any]) -> Path | None:
    """Return the path of the annotation file that a data set would read.

    Args:
        dataset: Config of a data set. Without ``ann_file``, the default of its class
            is used.

    Returns:
        The path, or None if the class is unknown or has no ``ann_file``. The file may
        not exist.
    """
    name = dataset.get('ann_file')
    if name is None:
        kind = dataset['type']
        if isinstance(kind, str):
            # As building would: names without prefix are the host's
            with DATASETS.switch_scope_and_registry(None) as registry:
                kind = registry.get(kind)
        takes = inspect.signature(kind).parameters if kind is not None else {}
        name = takes['ann_file'].default if 'ann_file' in takes else None
    if not isinstance(name, str) or not name:
        return None
    return Path(dataset.get('data_root') or '', name)


def read_annotations(dataset: Mapping[str, Any]) -> bytes:
    """Return the content of the annotation file, to notice changes of the data.

    Args:
        dataset: Config of a data set.

    Returns:
        The bytes of the file; empty if there is no such file.
    """
    path = annotation_file(dataset)
    return path.read_bytes() if path is not None and path.is_file() else b''
