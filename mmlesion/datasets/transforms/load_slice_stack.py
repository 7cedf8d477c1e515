"""Loading of a key slice with its neighboring slices."""

import os
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.ct import (
    SLICE_INTERVAL_MM,
    CTVolume,
    ScanSlice,
    SliceMix,
    as_scan_slice,
    plan_slices,
    square_pixel_mm,
)
from mmlesion.registry import TRANSFORMS

from ..sources.slice_series import (
    ArchivedSeries,
    PngSeries,
    ScanSeries,
    SliceSeries,
    series_spacing,
)


@TRANSFORMS.register_module()
class LoadSliceStack(BaseTransform):
    """Read a key slice and its neighbors every 2 mm as one image in HU.

    The channels are ordered from -z to +z (increasing slice number). The key slice is
    the middle channel. Three neighboring channels are one image of 3DCE. Values between
    physical slices are interpolated linearly; see :func:`mmlesion.ct.plan_slices`.
    A missing neighbor is replaced by the next slice toward the key slice. If the
    slice interval is missing (NaN), zero or negative, the key slice is repeated.

    Source: Yan et al., 3DCE, MICCAI 2018, Sec. 3 and ``load_ct_img.py``.

    A sample of a data set has ``img_path``, ``interval_mm`` and ``spacing_mm``. The
    inference tools of mmdet (``DetInferencer``, ``inference_detector``) pass only a
    path, which can be

    - a PNG file of DeepLesion, with its neighbors in the same folder and its spacing in
      ``DL_info.csv`` next to ``Images_png``;
    - a slice of a scan, ``scan.nii.gz#57`` or ``dicom_folder#57``, counted from 0 at
      the feet, or without ``#57`` if ``slice_index`` is set;
    - a :class:`mmlesion.ct.ScanSlice`, also of a :class:`mmlesion.ct.CTVolume`.

    Boxes of such a sample are in pixels of the slice: :class:`CropToBody` then does not
    crop the left and the upper side.

    Required keys: ``img_path`` (PNG of the key slice, ``<folder>/<number>.png`` with
    16-bit HU + 32768, or a slice of a scan), ``interval_mm`` (distance of the
    physical slices; for a scan from the file), ``height`` and ``width`` (optional;
    checked).
    Added keys: ``img`` (int16, or float32 if it was interpolated; channels are
    contiguous in memory), ``img_shape``, ``ori_shape``, ``height``, ``width``,
    ``key_slice_hu`` (the key slice without processing); if only a path is given,
    ``spacing_mm``, ``interval_mm`` and ``keep_origin``; for a slice of a scan also
    ``scan_geometry``, a ``CTVolume`` of one voxel, the first voxel of the slice.

    Args:
        num_slices: Number of channels, odd. Detectors that cut the stack into triples
            without overlap, such as 3DCE, need 3, 9, 15, 21, ...
        interval_mm: Distance between neighboring channels in mm. 0 repeats the key
            slice: the one-slice model has ``num_slices=3, interval_mm=0``.
        interpolation: ``'exact'``, or ``'legacy'`` for the rule that was used for the
            published results.
        cache_dir: Folder of a cache written by ``mmlesion prepare deeplesion``,
            which is read instead of the PNG files.
        slice_index: Slice index for scans whose path does not contain one.

    Raises:
        ValueError: If the arguments do not define a stack.
    """

    def __init__(
        self,
        num_slices: int,
        interval_mm: float = SLICE_INTERVAL_MM,
        interpolation: str = 'exact',
        cache_dir: str | None = None,
        slice_index: int | None = None,
    ) -> None:
        plan_slices(num_slices, 1.0, interval_mm, interpolation)  # check the arguments
        self.num_slices = num_slices
        self.interval_mm = interval_mm
        self.interpolation = interpolation
        self.cache_dir = cache_dir
        self.slice_index = slice_index

    def transform(self, results: Any) -> dict:
        """Read and interpolate the slices.

        Args:
            results: The sample, or a value for ``img_path``.

        Shape:
            - img: (H, W, num_slices).
            - key_slice_hu: (H, W).

        Returns:
            The sample.

        Raises:
            FileNotFoundError: If the key slice, or its series in the cache, is
                missing.
            ValueError: If a slice is damaged or has another size, or if the slice index
                of a scan or the spacing of a PNG file is unknown.
        """
        # The inferencer of mmdet passes only a path.
        results = results if isinstance(results, dict) else dict(img_path=results)
        source = results.pop('img', results.get('img_path'))
        if not isinstance(source, (str, os.PathLike, CTVolume, ScanSlice)):
            raise ValueError(
                'expected the path of a slice, a CTVolume or a ScanSlice, but got '
                f'{type(source).__name__}: an array does not contain its pixel size'
            )
        path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else ''
        scan_slice = as_scan_slice(source, results.pop('slice_index', self.slice_index))
        if 'instances' not in results:
            results['keep_origin'] = True
        if scan_slice is not None:
            self._describe(results, scan_slice)
        elif 'interval_mm' not in results and (
            self.num_slices > 1 or 'instances' not in results
        ):
            # not stated by the data set, such as CocoDataset of mmdet
            spacing_mm, results['interval_mm'] = series_spacing(path)
            results.setdefault('spacing_mm', spacing_mm)
        plan = plan_slices(
            self.num_slices,
            float(results.get('interval_mm', np.nan)),
            self.interval_mm,
            self.interpolation,
        )
        with self._series(scan_slice or path) as series:
            key_slice_hu = series.read(0)
            height, width = key_slice_hu.shape
            stated = (results.get('height', height), results.get('width', width))
            if stated != (height, width):
                raise ValueError(
                    f'{results["img_path"]}: the slice is {width} x {height} pixels, '
                    f'but the index says {stated[1]} x {stated[0]}'
                )
            results['img'] = self._stack(plan, series)
        results['img_shape'] = results['ori_shape'] = (height, width)
        results['height'], results['width'] = height, width
        results['key_slice_hu'] = key_slice_hu
        return results

    def _series(self, source: ScanSlice | str) -> SliceSeries:
        if isinstance(source, ScanSlice):
            return ScanSeries(source)
        if self.cache_dir:
            return ArchivedSeries(source, self.cache_dir)
        return PngSeries(source)

    @staticmethod
    def _describe(results: dict, scan_slice: ScanSlice) -> None:
        """Add the spacing and the geometry of a scan to the sample."""
        volume = scan_slice.volume
        x_mm, y_mm, z_mm = volume.index_to_world((scan_slice.index, 0, 0)).tolist()
        results['img_path'] = str(scan_slice)
        results['spacing_mm'] = square_pixel_mm(volume.spacing_mm, str(scan_slice))
        results['interval_mm'] = volume.spacing_mm[0]
        results['key_slice'] = scan_slice.index
        results['scan_geometry'] = CTVolume(
            np.zeros((1, 1, 1)),
            volume.spacing_mm,
            (x_mm, y_mm, z_mm),
            volume.direction,
        )

    @staticmethod
    def _stack(plan: list[SliceMix], series: SliceSeries) -> np.ndarray:
        blended = any(len(mix) > 1 for mix in plan)
        whole = series.read(0).dtype == np.int16 and not blended
        planes = np.empty(
            (len(plan), *series.read(0).shape), np.int16 if whole else np.float32
        )  # (C, H, W)
        for index, mix in enumerate(plan):
            plane = planes[index]
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
