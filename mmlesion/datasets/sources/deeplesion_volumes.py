"""Reader of 3-D re-annotations of sub-volumes of DeepLesion.

A sub-volume consists of consecutive slices in the folder of a series. Its name is
``PPPPPP_SS_RR_FFF-LLL``: the series, and the numbers of the first and the last slice,
as ``DL_save_nifti.py`` of DeepLesion names its NIfTI files. Two sets are public:

- LesionHarvester (https://github.com/JimmyCai91/LesionHarvester; Cai et al., IEEE TMI
  2021): pickles of a dictionary by sub-volume. ``3D-Box.pkl`` has a list of rows
  ``[x1, y1, x2, y2, z1, z2]`` for each. ``RECIST-Box-*.pkl`` and ``Revised-*.pkl`` have
  a dictionary ``{z: rows}`` of boxes in one slice, with z1 = z2 = z. z counts the
  slices of the sub-volume from 0; the example in its README is slice 6 of 13.
- The manual 1K set (https://github.com/viggin/DeepLesion_manual_test_set; Yan et al.,
  IEEE TMI 2020): one pickle ``{'val': ..., 'test': ...}``, each a dictionary by
  sub-volume of arrays (n, 6) with rows ``[x1, y1, z1, x2, y2, z2]``. z is the slice
  number of the series, "not the slice indices of this sub-volume"
  (``evaluation_sample.py``).

The formats are known from the documentation and evaluation programs of the two
repositories; the pickles themselves were not available. Both programs compute the sides
of a box as ``x2 - x1 + 1``, so corners are indices of the first and the last voxel.
Neither source states whether x and y begin at 0 or at 1; 0 is assumed.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .plain_pickle import read_plain_pickle

VOLUME_FORMATS = ('lesion-harvester', 'manual-1k')
_NAME = re.compile(r'(\d+_\d+_\d+)_(\d+)-(\d+)')
_ENDINGS = ('.annot', '.nii.gz', '.nii')


@dataclass(frozen=True)
class SubVolume:
    """Lesions of a sub-volume.

    Attributes:
        series: Name of the series, ``PPPPPP_SS_RR``.
        first_slice: Number of the first slice in the series.
        last_slice: Number of the last slice.
        boxes: Boxes (x1, y1, z1, x2, y2, z2): column, row and slice number of the
            outer edges, so voxel n reaches from n - 0.5 to n + 0.5.

    Shape:
        - boxes: (L, 6)
    """

    series: str
    first_slice: int
    last_slice: int
    boxes: np.ndarray

    @property
    def patient(self) -> str:
        """Number of the patient, as a string."""
        return self.series.partition('_')[0]


def read_sub_volumes(
    path: str | os.PathLike[str], kind: str, split: str = 'test'
) -> dict[str, SubVolume]:
    """Read a file of re-annotations without running code from it.

    Args:
        path: The pickle.
        kind: ``'lesion-harvester'`` or ``'manual-1k'``.
        split: ``'val'`` or ``'test'`` of the manual 1K set.

    Returns:
        Sub-volumes by name.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file contains code or has another format. The message names
            the sub-volume.
    """
    if kind not in VOLUME_FORMATS:
        raise ValueError(
            f'the format must be one of {VOLUME_FORMATS}, but is {kind!r}.'
        )
    content = read_plain_pickle(path)
    if kind == 'manual-1k' and isinstance(content, dict) and 'test' in content:
        if split not in content:
            raise ValueError(f'{path}: there is no split {split!r}.')
        content = content[split]
    if not isinstance(content, dict) or not content:
        raise ValueError(f'{path}: expected a dictionary by sub-volume.')
    volumes = {}
    for key, value in content.items():
        name = str(key)
        for ending in _ENDINGS:
            name = name.removesuffix(ending)
        match = _NAME.fullmatch(name)
        if match is None or int(match[2]) > int(match[3]):
            raise ValueError(
                f'{path}: expected the name of a sub-volume, such as '
                f'000001_01_01_103-115, but found {str(key)!r}.'
            )
        first, last = int(match[2]), int(match[3])
        where = f'{path}: {name}'
        if kind == 'manual-1k':
            rows = _rows_1k(value, where)
        else:
            rows = _rows_harvester(value, where)
            rows[:, [2, 5]] += first
        volumes[name] = SubVolume(
            match[1], first, last, _edges(rows, first, last, where)
        )
    return volumes


def _rows_1k(value: Any, where: str) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise ValueError(
            f'{where}: expected an array of boxes (x1, y1, z1, x2, y2, z2), but found '
            f'{type(value).__name__}; is this a file of LesionHarvester?'
        )
    return _numbers(value, where)


def _rows_harvester(value: Any, where: str) -> np.ndarray:
    """Return rows (x1, y1, z1, x2, y2, z2) of lists ordered (x, y, x, y, z, z)."""
    if isinstance(value, dict):
        rows = [row for rows in value.values() for row in rows]
        for z, each in value.items():
            if any(tuple(row[4:]) != (z, z) for row in each):
                raise ValueError(
                    f'{where}: the boxes of slice {z} must have z1 = z2 = {z}.'
                )
    elif isinstance(value, list):
        rows = value
    else:
        raise ValueError(
            f'{where}: expected a list of boxes (x1, y1, x2, y2, z1, z2), but found '
            f'{type(value).__name__}; is this a file of the manual 1K set?'
        )
    return _numbers(rows, where)[:, [0, 1, 4, 2, 3, 5]]


def _numbers(rows: Iterable, where: str) -> np.ndarray:
    try:
        array = np.array(rows, np.float64)
    except (TypeError, ValueError):
        array = np.zeros((1, 0))
    if not array.size and array.shape != (1, 0):
        return np.zeros((0, 6))
    if array.ndim != 2 or array.shape[1] != 6 or not np.isfinite(array).all():
        raise ValueError(f'{where}: expected rows of six numbers.')
    return array


def _edges(rows: np.ndarray, first: int, last: int, where: str) -> np.ndarray:
    """Return the outer edges of boxes whose corners are voxel indices."""
    for row in rows:
        if (row[3:] < row[:3]).any():
            raise ValueError(f'{where}: the corners of {row.tolist()} are swapped.')
        if row[5] < first or row[2] > last:
            raise ValueError(
                f'{where}: the slices {row[2]:g} to {row[5]:g} of a box are not in the '
                'sub-volume.'
            )
    return rows + np.repeat([-0.5, 0.5], 3)
