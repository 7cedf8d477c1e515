"""Reading of a key slice with its neighbours."""

import os.path as osp

import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.ct import (
    ARCHIVE_SUFFIX,
    SLICE_INTERVAL_MM,
    SliceArchive,
    SliceMix,
    check_num_slices,
    plan_slices,
    read_png_hu,
)
from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadSliceStack(BaseTransform):
    """Read a key slice and its neighbours every 2 mm as one image in HU.

    The channels go from -z to +z (rising slice number), the key slice is the
    middle one; three neighbouring channels make one image of 3DCE. Between
    physical slices it interpolates linearly, see
    :func:`mmlesion.ct.plan_slices`. A neighbour that is not there is replaced
    by the next one toward the key slice. Where the slice interval is missing
    (NaN), zero or negative, the key slice is repeated.

    Source: Yan et al., 3DCE, MICCAI 2018, Sec. 3 and ``load_ct_img.py``.

    Required keys: ``img_path`` (PNG of the key slice, ``<folder>/<number>.png``
    with 16-bit HU + 32768, its neighbours beside it), ``interval_mm`` (distance
    of the physical slices), ``height`` and ``width`` (optional; checked).
    Added keys: ``img`` (int16, or float32 where it was interpolated; memory
    is channel by channel, as networks want it), ``img_shape``, ``ori_shape``,
    ``height``, ``width``, ``key_slice_hu`` (the key slice as it was read).

    Args:
        num_slices (int): Number of channels: an odd number of triples.
        interval_mm (float): Distance of neighbouring channels. 0 repeats the
            key slice: the one-slice model is ``num_slices=3,
            interval_mm=0``.
        interpolation (str): ``'exact'``, or ``'legacy'`` for the rule behind
            the published numbers.
        cache_dir (str, optional): Read from a cache made by
            ``tools/prepare_data.py deeplesion`` instead of the PNGs.

    Raises:
        ValueError: If the arguments make no stack.
    """

    def __init__(
        self,
        num_slices: int,
        interval_mm: float = SLICE_INTERVAL_MM,
        interpolation: str = 'exact',
        cache_dir: str | None = None,
    ) -> None:
        check_num_slices(num_slices)
        plan_slices(num_slices, 1.0, interval_mm, interpolation)  # checks
        self.num_slices = num_slices
        self.interval_mm = interval_mm
        self.interpolation = interpolation
        self.cache_dir = cache_dir

    def transform(self, results: dict) -> dict:
        """Read and interpolate.

        Args:
            results (dict): The sample.

        Shape:
            - img: (H, W, num_slices).
            - key_slice_hu: (H, W).

        Returns:
            dict: The sample.

        Raises:
            FileNotFoundError: If the key slice, or its series in the cache, is
                missing.
            ValueError: If a slice is damaged or of another size.
        """
        plan = plan_slices(
            self.num_slices,
            float(results.get('interval_mm', np.nan)),
            self.interval_mm,
            self.interpolation,
        )
        path = results['img_path']
        with (
            _CachedSeries(path, self.cache_dir) if self.cache_dir else _PngSeries(path)
        ) as series:
            key_slice_hu = series.read(0)
            height, width = key_slice_hu.shape
            stated = (results.get('height', height), results.get('width', width))
            if stated != (height, width):
                raise ValueError(
                    f'{path}: the slice is {width} x {height} pixels, but the '
                    f'index says {stated[1]} x {stated[0]}'
                )
            results['img'] = self._stack(plan, series)
        results['img_shape'] = results['ori_shape'] = (height, width)
        results['height'], results['width'] = height, width
        results['key_slice_hu'] = key_slice_hu
        return results

    @staticmethod
    def _stack(plan: list[SliceMix], series: '_Series') -> np.ndarray:
        blended = any(len(mix) > 1 for mix in plan)
        planes = np.empty(
            (len(plan), *series.read(0).shape), np.float32 if blended else np.int16
        )  # (C, H, W)
        for plane, mix in zip(planes, plan):
            sources = [(series.read(offset), weight) for offset, weight in mix]
            if len(mix) == 1 or sources[0][0] is sources[1][0]:
                plane[:] = sources[0][0]
                continue
            (near, near_weight), (far, far_weight) = sources
            np.multiply(near, np.float32(near_weight), out=plane)
            plane += far * np.float32(far_weight)
        return planes.transpose(1, 2, 0)  # (H, W, C)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(num_slices={self.num_slices}, '
            f'interval_mm={self.interval_mm}, '
            f'interpolation={self.interpolation!r}, '
            f'cache_dir={self.cache_dir!r})'
        )


class _Series:
    """The slices around one key slice, each read once, gaps closed."""

    def __init__(self, key_path: str) -> None:
        self.folder, name = osp.split(key_path)
        stem = osp.splitext(name)[0]
        if not stem.isdigit():
            raise ValueError(
                f"{key_path}: expected a key slice named '<folder>/<number>.png'"
            )
        self.key_slice, self.digits = int(stem), len(stem)
        self._slices: dict[int, np.ndarray] = {}

    def __enter__(self) -> '_Series':
        return self

    def __exit__(self, *exc_info) -> None:
        """Let go of files, if any are held."""

    def path(self, offset: int) -> str:
        """Where the PNG of an offset lies."""
        number = self.key_slice + offset
        return osp.join(self.folder, f'{number:0{self.digits}d}.png')

    def fetch(self, offset: int) -> np.ndarray | None:
        """HU of the slice at exactly this offset; None if there is none."""
        raise NotImplementedError

    def read(self, offset: int) -> np.ndarray:
        """HU of the slice at an offset, or the next toward the key slice."""
        if offset not in self._slices:
            slice_hu = self.fetch(offset)
            if slice_hu is None and offset == 0:
                raise FileNotFoundError(f'{self.path(0)}: no such key slice')
            if slice_hu is None:
                slice_hu = self.read(offset - 1 if offset > 0 else offset + 1)
            elif offset and slice_hu.shape != self.read(0).shape:
                height, width = self.read(0).shape
                raise ValueError(
                    f'{self.path(offset)}: the slice is {slice_hu.shape[1]} x '
                    f'{slice_hu.shape[0]} pixels, but its key slice '
                    f'{self.path(0)} is {width} x {height}'
                )
            self._slices[offset] = slice_hu
        return self._slices[offset]


class _PngSeries(_Series):
    def fetch(self, offset: int) -> np.ndarray | None:
        # Opening is looking it up: one call less per slice on a network disk
        try:
            return read_png_hu(self.path(offset))
        except FileNotFoundError:
            return None


class _CachedSeries(_Series):
    def __init__(self, key_path: str, cache_dir: str) -> None:
        super().__init__(key_path)
        path = osp.join(cache_dir, osp.basename(self.folder) + ARCHIVE_SUFFIX)
        try:
            self._archive = SliceArchive(path)
        except FileNotFoundError:
            raise FileNotFoundError(
                f'{path}: the series is not in the cache; run '
                'tools/prepare_data.py deeplesion'
            ) from None

    def __exit__(self, *exc_info) -> None:
        self._archive.close()

    def fetch(self, offset: int) -> np.ndarray | None:
        number = self.key_slice + offset
        if number not in self._archive.numbers:
            return None
        return self._archive.read(number)
