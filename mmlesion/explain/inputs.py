"""Inputs of explanations: files or the test data set of a config."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError
from typing import Any

import cv2
import numpy as np
import SimpleITK as sitk  # noqa: N813
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, TRANSFORMS
from tqdm import tqdm

from mmlesion.ct import (
    ARCHIVE_SUFFIX,
    VOLUME_SUFFIXES,
    CTVolume,
    plan_slices,
    read_radiograph,
    read_volume,
    window_hu,
)
from mmlesion.ct.nodule_patches import (
    cut_nodule_patches,
    estimate_nodule_diameter,
    nodule_ball,
)
from mmlesion.registry import type_name

from .names import sample_name

PICTURE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
SCAN_SUFFIXES = (*VOLUME_SUFFIXES, '.dcm')
# Suffixes that the first step of a pipeline can read, in addition to .npy.
READABLE = dict(
    LoadImageFromFile=(*PICTURE_SUFFIXES, *SCAN_SUFFIXES),
    LoadRadiograph=(*PICTURE_SUFFIXES, *SCAN_SUFFIXES),
    LoadNodulePatch=(ARCHIVE_SUFFIX, *VOLUME_SUFFIXES),
    LoadSliceStack=('.png', *VOLUME_SUFFIXES),
    LoadLIDCSlice=VOLUME_SUFFIXES,
)
_SCAN_LOADERS = ('LoadSliceStack', 'LoadLIDCSlice')
MIDDLE = 'middle'


class ExplainInputs:
    """Iterable of samples packed by the test pipeline of a config.

    Without ``images``, the samples are those of the test data set of the config. With
    ``images``, files replace the data that the first step of the pipeline reads:

    - an image, a radiograph or the patches of a nodule: read by that step;
    - a crop (NIfTI, MetaImage, NRRD) with a nodule in its center, for
      ``LoadNodulePatch``: the patches are cut for a nodule of ``diameter_mm``;
    - an array (``.npy``), (H, W) or (channels, H, W), with the values that the step
      would return: HU, or gray values;
    - a scan (DICOM folder, NIfTI, MetaImage, NRRD): the stack that
      ``LoadSliceStack`` would return for each slice in ``slices``, or for the middle
      slice; for ``LoadImageFromFile``, the windowed slice in three channels; for
      ``LoadLIDCSlice``, the whole slice, magnified by ``zoom`` of ``scan_slices`` in
      the config;
    - a 16-bit PNG of DeepLesion: looked up in the test data set, which has its spacing.

    Args:
        cfg: The config. Its default scope must be set.
        images: A file or a folder of files.
        slices: Indices of the slices of scans, counted from 0 at the feet.
        window: HU of black and white of a scan for
            ``LoadImageFromFile``. Defaults to the smallest and largest value.
        max_images: Maximum number of samples.
        diameter_mm: Diameter of the nodule in each crop. Estimated by default.

    Yields:
        A unique name for files, and the sample. For a slice of a scan,
        ``scan_geometry`` of the meta information is a :class:`CTVolume` of one voxel
        at the position of the first voxel of the slice.

    Raises:
        FileNotFoundError: If the file or folder does not exist.
        ValueError: If a file is damaged or has a format that the config does not read.
    """

    def __init__(
        self,
        cfg: Config,
        images: str | Path | None = None,
        slices: Sequence[int] | None = None,
        window: Sequence[float] | None = None,
        max_images: int | None = None,
        diameter_mm: float | None = None,
    ) -> None:
        loader = cfg.get('test_dataloader')
        if not loader or not loader.dataset.get('pipeline'):
            raise ValueError(
                f'{cfg.filename}: expected a test_dataloader whose '
                'dataset has a pipeline.'
            )
        self.dataset_cfg = loader.dataset
        self.first, *rest = loader.dataset.pipeline
        self.kind = type_name(self.first)
        self.slices = slices
        self.window = window
        self.diameter_mm = diameter_mm
        self.zoom = 1
        if self.kind == 'LoadLIDCSlice':
            self.zoom = int((cfg.get('scan_slices') or {}).get('zoom', 1))
        if images is None:
            self.jobs = [(number, None) for number in range(len(self.dataset))]
        else:
            if self.kind not in READABLE:
                raise ValueError(
                    f'{cfg.filename}: files can be given where the test pipeline '
                    f'begins with {", ".join(READABLE)}, not with {self.kind}.'
                )
            self.whole = Compose(loader.dataset.pipeline)
            self.rest = Compose(rest)
            self.jobs = self._jobs_of(Path(images))
        if max_images is not None and max_images < 1:
            raise ValueError(f'max_images must be positive, got {max_images}')
        self.jobs = self.jobs[:max_images]

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        stems = Counter(
            stem_of(path)
            for path in {path for path, _ in self.jobs}
            if isinstance(path, Path)
        )
        seen = set()
        for number, (source, index) in enumerate(self.jobs):
            if isinstance(source, Path):
                data, index = self._read(source, index)
                stem = stem_of(source)
                name = stem if stems[stem] == 1 else source.name.replace('.', '_')
                name += '' if index is None else f'_{index:03d}'
            else:
                data = self.dataset[source]
                name = sample_name(data['data_samples'], 0, source)
            name = f'{name}_{number}' if name in seen else name
            seen.add(name)
            yield name, data

    @property
    def dataset(self) -> Any:
        """Test data set of the config."""
        if not hasattr(self, '_dataset'):
            self._dataset = DATASETS.build(self.dataset_cfg)
        return self._dataset

    def _jobs_of(self, path: Path) -> list[tuple[Path, int | str | None]]:
        """Return file and slice of each sample to explain."""
        suffixes = (*READABLE[self.kind], '.npy')
        if not path.exists():
            raise FileNotFoundError(f'{path}: no such file or folder')
        if path.is_file() and not path.name.lower().endswith(suffixes):
            raise ValueError(
                f'{path}: the config reads its data by {self.kind}, which supports '
                f'files {", ".join(suffixes)}'
            )
        files = [path]
        if path.is_dir():
            files = sorted(
                each for each in path.iterdir() if each.name.lower().endswith(suffixes)
            )
            if not files and self.kind in _SCAN_LOADERS:  # a DICOM series
                files = [path]
        if not files:
            raise ValueError(
                f'{path}: no file in this folder ends with {", ".join(suffixes)}'
            )
        return [
            (file, index)
            for file in files
            for index in (self.slices or [MIDDLE] if self._is_scan(file) else [None])
        ]

    def _is_scan(self, path: Path) -> bool:
        """Return whether a file or folder is a scan, from which slices are selected."""
        if self.kind in _SCAN_LOADERS:
            return path.is_dir() or path.name.lower().endswith(VOLUME_SUFFIXES)
        return (
            self.kind == 'LoadImageFromFile'
            and path.name.lower().endswith(VOLUME_SUFFIXES)
            and _depth(path) > 1
        )

    def _read(
        self, path: Path, index: int | str | None
    ) -> tuple[dict[str, Any], int | None]:
        """Run the pipeline on a file or a slice of it; also return the slice index."""
        results: dict[str, Any] = dict(img_path=str(path), img_id=0, instances=[])
        volume: CTVolume | None = None
        if index is not None:
            volume = _volume(str(path))
            index = _check_slice(index, len(volume.array), path)
            results.update(self._slice(volume, index, path))
        elif path.suffix.lower() == '.npy':
            values = _array(path, self._channels())
            results['img'] = (
                self._gray(values) if (self.kind == 'LoadImageFromFile') else values
            )
        elif self.kind == 'LoadSliceStack':
            return self._from_data_set(path), None
        elif self._is_nodule_crop(path):
            results.update(self._nodule(path))
        elif self.kind == 'LoadImageFromFile':
            if path.name.lower().endswith(SCAN_SUFFIXES):
                results['img'] = self._gray(read_radiograph(path))
            elif cv2.imread(str(path)) is None:
                raise ValueError(
                    f'{path}: not readable as an image; it is damaged '
                    'or of another kind'
                )
        if 'img' not in results:
            whole: Any = self.whole(results)
            return whole, None
        height, width = shape = results['img'].shape[:2]
        results.update(img_shape=shape, ori_shape=shape, height=height, width=width)
        if self.kind == 'LoadSliceStack':  # for CropToBody
            results['key_slice_hu'] = results['img'][..., results['img'].shape[2] // 2]
        data: Any = self.rest(results)
        if volume is not None and index is not None:
            data['data_samples'].set_metainfo(
                dict(scan_geometry=_geometry(volume, index, self.zoom))
            )
        return data, index

    def _is_nodule_crop(self, path: Path) -> bool:
        """Return whether a file is a volume around one nodule."""
        return self.kind == 'LoadNodulePatch' and path.name.lower().endswith(
            VOLUME_SUFFIXES
        )

    def _nodule(self, path: Path) -> dict[str, Any]:
        """Return the result of LoadNodulePatch for the nodule in a crop."""
        volume = _volume(str(path))
        diameter_mm = self.diameter_mm
        try:
            if diameter_mm is None:
                diameter_mm = estimate_nodule_diameter(volume)
                tqdm.write(
                    f'{path}: diameter {diameter_mm:.1f} mm, estimated from the crop '
                    '(--diameter gives it)'
                )
            ball = nodule_ball(volume, diameter_mm)
            patches = cut_nodule_patches(volume, ball, diameter_mm)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from None
        return TRANSFORMS.build(self.first).from_patches(
            patches, dict(nodule_id=stem_of(path), diameter_mm=diameter_mm)
        )

    def _slice(self, volume: CTVolume, index: int, path: Path) -> dict[str, Any]:
        """Return the result of the first pipeline step for a slice of a scan."""
        if self.kind == 'LoadSliceStack':
            return _stack(volume, index, TRANSFORMS.build(self.first), path)
        if self.kind == 'LoadLIDCSlice':
            plane = volume.array[index].astype(np.float32)
            large = cv2.resize(plane, None, fx=self.zoom, fy=self.zoom)
            return dict(img=np.repeat(large[..., None], self._channels(), axis=2))
        return dict(img=self._gray(volume.array[index]))

    def _channels(self) -> int:
        if self.kind == 'LoadNodulePatch':
            return TRANSFORMS.build(self.first).num_channels
        if self.kind == 'LoadSliceStack':
            return self.first.num_slices
        return self.first.get('channels', 1 if self.kind == 'LoadLIDCSlice' else 3)

    def _gray(self, values: np.ndarray) -> np.ndarray:
        """Convert values to an 8-bit image with three channels."""
        if values.ndim == 2:
            values = values[..., None].repeat(3, 2)
        window = self.window or (float(values.min()), float(values.max()))
        if window[0] == window[1]:
            return np.zeros(values.shape, np.uint8)
        return window_hu(values, window).round().astype(np.uint8)

    def _from_data_set(self, path: Path) -> dict[str, Any]:
        """Sample of the test data set whose key slice is this PNG."""
        if not hasattr(self, '_places'):
            self._places = {
                Path(self.dataset.get_data_info(number)['img_path']).resolve(): number
                for number in range(len(self.dataset))
            }
        number = self._places.get(path.resolve())
        if number is None:
            raise ValueError(
                f"{path}: not a key slice of the config's test data set, and a PNG has "
                'no spacing; expected a key slice, or a scan as DICOM, '
                'NIfTI, MetaImage or NRRD'
            )
        return self.dataset[number]


def stem_of(path: Path) -> str:
    """Return the name of a file without its suffix, or the name of a folder."""
    name = path.name or path.resolve().name
    if path.is_dir():
        return name
    suffix = next(
        (each for each in ('.nii.gz',) if name.lower().endswith(each)), path.suffix
    )
    return name[: len(name) - len(suffix)]


@lru_cache(maxsize=1)
def _volume(path: str) -> CTVolume:
    """Read a scan. The last scan is cached, because its slices are consecutive."""
    return read_volume(path)


def _geometry(volume: CTVolume, index: int, zoom: int) -> CTVolume:
    """Return one voxel at the position of the first pixel of a magnified slice."""
    corner = 0.5 / zoom - 0.5
    x, y, z = volume.index_to_world((index, corner, corner)).tolist()
    depth, height, width = volume.spacing_mm
    return CTVolume(
        np.zeros((1, 1, 1)),
        (depth, height / zoom, width / zoom),
        (x, y, z),
        volume.direction,
    )


def _depth(path: Path) -> int:
    """Read the number of slices of a file from its header; 1 for a plane."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise ValueError(
            f'{path}: not readable as an image; it is damaged or of another kind'
        ) from None
    return max(reader.GetSize()[2:], default=1)


def _check_slice(index: int | str, count: int, path: Path) -> int:
    """Return the index of a slice; ``'middle'`` is the middle slice."""
    if isinstance(index, str):
        return count // 2
    if not 0 <= index < count:
        raise ValueError(
            f'{path}: there is no slice {index}, the scan has {count}, counted from 0'
        )
    return index


def _array(path: Path, channels: int) -> np.ndarray:
    """Read an array file as (H, W, channels)."""
    try:
        # The map of the file checks the shape in the header before memory is taken
        array = np.load(path, mmap_mode='r', allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError, TokenError):
        raise ValueError(f'{path}: not readable as an array of NumPy') from None
    if array.ndim == 2:
        array = array[None].repeat(channels, 0)
    if (
        array.ndim != 3
        or len(array) != channels
        or array.size == 0
        or (array.dtype.kind not in 'biuf')
    ):
        raise ValueError(
            f'{path}: expected numbers of shape (H, W) or ({channels}, H, '
            f'W), got {array.dtype} of {array.shape}'
        )
    if not np.isfinite(array).all():
        raise ValueError(f'{path}: a value is NaN or infinite')
    return np.ascontiguousarray(array.transpose(1, 2, 0), np.float32)


def _stack(volume: CTVolume, index: int, load: Any, path: Path) -> dict[str, Any]:
    """Return the result of LoadSliceStack for a slice of a scan."""
    slice_mm, row_mm, column_mm = volume.spacing_mm
    if abs(row_mm - column_mm) > 1e-3 * row_mm:
        raise ValueError(
            f'{path}: expected square pixels, but they are {row_mm:g} x '
            f'{column_mm:g} mm; resample the scan first'
        )
    last = len(volume.array) - 1
    # In DeepLesion, slices are numbered from the head to the feet.
    planes = [
        sum(
            np.float32(weight) * volume.array[min(max(index - offset, 0), last)]
            for offset, weight in mix
        )
        for mix in plan_slices(
            load.num_slices, slice_mm, load.interval_mm, load.interpolation
        )
    ]
    return dict(img=np.stack(planes, 2), spacing_mm=row_mm, interval_mm=slice_mm)
