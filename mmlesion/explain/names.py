"""File names of samples."""

from pathlib import Path
from typing import Any


def sample_name(sample: Any, batch_idx: int = 0, index: int = 0) -> str:
    """Name a sample after its image, its nodule or its place in the test.

    A slice whose file name is a number gets the name of its folder as a prefix, as
    DeepLesion's ``File_name``: ``000001_01_01_109`` for
    ``Images_png/000001_01_01/109.png``. The number of a slice in a file of a series is
    appended.

    Args:
        sample: Data sample, which may have ``img_path``, ``nodule_id`` or
            ``sample_idx``.
        batch_idx: Index of the batch, for a sample without a name.
        index: Index of the sample in the batch, for a sample without a name.

    Returns:
        A name for files, without a folder and a suffix.
    """
    for key in ('img_path', 'nodule_id', 'sample_idx'):
        value = sample.get(key)
        if value is None:
            continue
        path = Path(str(value))
        if key == 'img_path' and path.stem.isdigit() and path.parent.name:
            return f'{path.parent.name}_{path.stem}'
        number = sample.get('slice_number') if key == 'img_path' else None
        return path.stem + ('' if number is None else f'_{int(number):03d}')
    return f'{batch_idx:05d}_{index}'
