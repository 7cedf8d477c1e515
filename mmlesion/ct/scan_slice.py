"""Slice of a scan, addressed by a path such as ``scan.nii.gz#57``."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .files import VOLUME_SUFFIXES, read_volume
from .png import read_png_hu
from .volume import CTVolume

# A suffix, because mmdet names prediction files by the path without its suffix.
_NAME = re.compile(r'(?P<scan>.+)#(?P<index>\d+)(?:\.slice)?', re.DOTALL)


@dataclass(frozen=True, eq=False)
class ScanSlice:
    """A slice of a scan, used where mmdet expects the path of an image.

    Args:
        scan: Folder of a DICOM series, NIfTI, MetaImage or NRRD file, or a volume in
            memory.
        index: Index of the axial slice, counted from 0 at the feet, independent of
            the slice order in the file.

    Raises:
        ValueError: If ``index`` is negative.
    """

    scan: str | os.PathLike | CTVolume
    index: int

    def __post_init__(self) -> None:
        if self.index < 0:
            raise ValueError(f'{self}: slices are counted from 0')

    def __str__(self) -> str:
        scan = 'volume' if isinstance(self.scan, CTVolume) else os.fspath(self.scan)
        return f'{scan}#{self.index}.slice'

    @property
    def volume(self) -> CTVolume:
        """The scan as axial slices. The last scan is cached in memory.

        Raises:
            FileNotFoundError: If the scan does not exist.
            ValueError: If the scan is damaged, has no such slice, or is a volume in
                memory whose slices are not axial.
        """
        if isinstance(self.scan, CTVolume):
            volume = self.scan
            if np.diag(volume.direction).min() < 0.5:
                raise ValueError(
                    'the axes of the volume must point to the left, the back and the '
                    'head of the patient, as those that mmlesion.ct.read_volume returns'
                )
        else:
            path = os.fspath(self.scan)
            if not os.path.exists(path):
                raise FileNotFoundError(f'{path}: no such file or folder')
            volume = _read(path, os.stat(path).st_mtime_ns)
        if self.index >= len(volume.array):
            raise ValueError(
                f'{self}: there is no slice {self.index}, the scan has '
                f'{len(volume.array)}, counted from 0'
            )
        return volume


def as_scan_slice(source: Any, index: int | None = None) -> ScanSlice | None:
    """Convert a path, a volume or a slice to a slice of a scan.

    Args:
        source: Path with or without ``#<slice>``, volume, or slice.
        index: Index of the slice if ``source`` does not contain one.

    Returns:
        The slice, or None if ``source`` is the path of an image.

    Raises:
        ValueError: If ``source`` is a scan without a slice index.
    """
    if isinstance(source, ScanSlice):
        return source
    if not isinstance(source, CTVolume):
        path = os.fspath(source)
        if path.lower().endswith('.png'):
            return None
        match = _NAME.fullmatch(path)
        if match is not None and not os.path.exists(path):
            return ScanSlice(match['scan'], int(match['index']))
        if not (path.lower().endswith(VOLUME_SUFFIXES) or os.path.isdir(path)):
            return None
    if index is None:
        shown = 'volume' if isinstance(source, CTVolume) else os.fspath(source)
        raise ValueError(
            f'{shown}: which slice of the scan? Append its number, counted from 0 at '
            f"the feet: '{shown}#57', or give ScanSlice(scan, 57)"
        )
    return ScanSlice(source, index)


def read_slice_hu(path: str | os.PathLike | ScanSlice) -> np.ndarray:
    """Read one slice in HU.

    Args:
        path: 16-bit PNG of DeepLesion, or a slice of a scan (``scan.nii.gz#57``).

    Shape:
        - output: (H, W).

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is damaged or has no such slice.
    """
    scan_slice = as_scan_slice(path)
    if scan_slice is None:
        assert not isinstance(path, ScanSlice)
        return read_png_hu(path)
    return scan_slice.volume.array[scan_slice.index]


def square_pixel_mm(spacing_mm: Sequence[float], name: str) -> float:
    """Return the pixel size of axial slices with square pixels.

    Args:
        spacing_mm: Voxel size (z, y, x) in mm.
        name: Name of the scan for error messages.

    Raises:
        ValueError: If the pixels are not square.
    """
    _, row_mm, column_mm = spacing_mm
    if abs(row_mm - column_mm) > 1e-3 * row_mm:
        raise ValueError(
            f'{name}: expected square pixels, but they are {row_mm:g} x '
            f'{column_mm:g} mm; resample the scan first'
        )
    return row_mm


@lru_cache(maxsize=1)
def _read(path: str, modified_ns: int) -> CTVolume:
    return read_volume(path)
