"""Slices around a key slice, read from PNG files, an archive, or a scan."""

import os
import os.path as osp
from functools import lru_cache

import numpy as np

from mmlesion.ct import ARCHIVE_SUFFIX, ScanSlice, SliceArchive, read_png_hu

from .deeplesion_csv import read_deeplesion_csv


class SliceSeries:
    """Slices around one key slice, each read once; missing slices are replaced."""

    def __init__(self) -> None:
        self._slices: dict[int, np.ndarray] = {}

    def __enter__(self) -> 'SliceSeries':
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close all open files."""

    def name(self, offset: int) -> str:
        """Return the name of the slice at an offset, for error messages."""
        raise NotImplementedError

    def fetch(self, offset: int) -> np.ndarray | None:
        """Return the HU of the slice at exactly this offset, or None."""
        raise NotImplementedError

    def read(self, offset: int) -> np.ndarray:
        """Return the HU of a slice, or of the nearest slice toward the key slice.

        Args:
            offset: Number of slices from the key slice.

        Shape:
            - output: (H, W).

        Raises:
            FileNotFoundError: If there is no key slice.
            ValueError: If the slice and the key slice differ in size.
        """
        if offset not in self._slices:
            slice_hu = self.fetch(offset)
            if slice_hu is None and offset == 0:
                raise FileNotFoundError(f'{self.name(0)}: no such key slice')
            if slice_hu is None:
                slice_hu = self.read(offset - 1 if offset > 0 else offset + 1)
            elif offset and slice_hu.shape != self.read(0).shape:
                height, width = self.read(0).shape
                raise ValueError(
                    f'{self.name(offset)}: the slice is {slice_hu.shape[1]} x '
                    f'{slice_hu.shape[0]} pixels, but its key slice '
                    f'{self.name(0)} is {width} x {height}'
                )
            self._slices[offset] = slice_hu
        return self._slices[offset]


class PngSeries(SliceSeries):
    """Slices in PNG files next to a key slice.

    Args:
        key_path: PNG file of the key slice, ``<folder>/<number>.png``.

    Raises:
        ValueError: If the name of the file is not a number.
    """

    def __init__(self, key_path: str) -> None:
        super().__init__()
        self.folder, name = osp.split(key_path)
        stem = osp.splitext(name)[0]
        if not stem.isdigit():
            raise ValueError(
                f"{key_path}: expected a key slice named '<folder>/<number>.png'"
            )
        self.key_slice, self.digits = int(stem), len(stem)

    def name(self, offset: int) -> str:
        """Return the path of the PNG file at an offset."""
        number = self.key_slice + offset
        return osp.join(self.folder, f'{number:0{self.digits}d}.png')

    def fetch(self, offset: int) -> np.ndarray | None:
        """Return the HU of the PNG file at exactly this offset, or None."""
        # Slice 999 of a longer series is 999.png and not 0999.png
        short = osp.join(self.folder, f'{self.key_slice + offset:03d}.png')
        # Open without checking first: one call less per slice on a network file system.
        for path in dict.fromkeys((self.name(offset), short)):
            try:
                return read_png_hu(path)
            except FileNotFoundError:
                continue
        return None


class ArchivedSeries(PngSeries):
    """Slices in the archive of a series, written by ``mmlesion prepare``.

    Args:
        key_path: PNG file of the key slice, which need not exist.
        cache_dir: Folder of the archives.

    Raises:
        FileNotFoundError: If the series is not in the cache.
    """

    def __init__(self, key_path: str, cache_dir: str) -> None:
        super().__init__(key_path)
        path = osp.join(cache_dir, osp.basename(self.folder) + ARCHIVE_SUFFIX)
        try:
            self._archive = SliceArchive(path)
        except FileNotFoundError:
            raise FileNotFoundError(
                f'{path}: the series is not in the cache; run '
                'mmlesion prepare deeplesion'
            ) from None

    def __exit__(self, *exc_info: object) -> None:
        """Close the archive."""
        self._archive.close()

    def fetch(self, offset: int) -> np.ndarray | None:
        """Return the HU of the slice at exactly this offset, or None."""
        number = self.key_slice + offset
        if number not in self._archive.numbers:
            return None
        return self._archive.read(number)


class ScanSeries(SliceSeries):
    """Slices of a whole scan.

    Offsets increase toward the feet, as slice numbers of DeepLesion do (in 28,719 of
    28,753 pairs of key slices of one series that are at least ten slices apart,
    according to the normalized position in ``DL_info.csv``). Slices of a scan are
    stored from the feet to the head.

    Args:
        scan_slice: The key slice.
    """

    def __init__(self, scan_slice: ScanSlice) -> None:
        super().__init__()
        self.scan_slice = scan_slice
        self.slices_hu = scan_slice.volume.array

    def name(self, offset: int) -> str:
        """Return the name of the slice at an offset."""
        return f'{self.scan_slice} {offset:+d}'

    def fetch(self, offset: int) -> np.ndarray | None:
        """Return the HU of the slice at exactly this offset, or None."""
        number = self.scan_slice.index - offset
        return self.slices_hu[number] if 0 <= number < len(self.slices_hu) else None


def series_spacing(key_path: str) -> tuple[float, float]:
    """Look up the spacing of a series in DeepLesion's csv file.

    Args:
        key_path: ``<root>/Images_png/<series>/<number>.png``; the csv is
            ``<root>/DL_info.csv``.

    Returns:
        Pixel size and slice distance in mm. The distance is NaN if it is missing.

    Raises:
        ValueError: If there is no csv file or it does not contain the series.
    """
    folder = osp.dirname(osp.abspath(key_path))
    csv = osp.join(osp.dirname(osp.dirname(folder)), 'DL_info.csv')
    series = osp.basename(folder)
    known = _spacings(csv, os.stat(csv).st_mtime_ns) if osp.isfile(csv) else {}
    if series not in known:
        raise ValueError(
            f'{key_path}: a PNG does not contain its pixel size; expected {csv} with '
            f"the series {series}, or a sample with 'spacing_mm' and 'interval_mm'"
        )
    return known[series]


@lru_cache(maxsize=4)
def _spacings(csv: str, modified_ns: int) -> dict[str, tuple[float, float]]:
    return {
        row.series: (row.spacing_mm, row.interval_mm)
        for row in read_deeplesion_csv(csv)
    }
