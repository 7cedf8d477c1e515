"""Reading of scans for detection."""

import os
from dataclasses import dataclass, replace

import numpy as np

from mmlesion.ct import (
    CTVolume,
    SourceImage,
    axial_slices,
    choose_series,
    read_volume,
    resample,
)

#: Range of sides of CT voxels. Other sizes indicate a wrong unit or header.
_SIDES_MM = (0.05, 30.0)
#: CT of a body contains air, about -1000 HU, and soft tissue, about 0 to 100 HU.
_AIR_HU, _TISSUE_HU = -500, -200
#: Noise gives CT many more values; a file with this number of values from 0 to 255 is a
#: segmentation.
_MAX_LABELS = 32
#: Pixels whose sides differ by less than this fraction are treated as square.
_SQUARE = 1e-3


@dataclass(frozen=True)
class LoadedScan:
    """Scan after reading.

    Attributes:
        path: Path of the scan; ``'volume'`` for a volume in memory.
        volume: HU in axial slices.
        warnings: Sentences on choices, repairs and assumptions.
    """

    path: str
    volume: CTVolume
    warnings: tuple[str, ...] = ()


def read_scan(
    scan: str | os.PathLike[str] | CTVolume, series_uid: str | None = None
) -> LoadedScan:
    """Read a scan and check that it is plausible as a CT scan in HU.

    Args:
        scan: Folder of DICOM files, NIfTI, MetaImage or NRRD file, or a volume.
        series_uid: DICOM: UID of the series. By default, the largest axial CT
            series of the folder is read.

    Raises:
        FileNotFoundError: If the file or folder does not exist.
        ValueError: If the scan cannot be read, see :func:`mmlesion.ct.read_volume`,
            or is not a CT scan in HU.
    """
    warnings = []
    if isinstance(scan, CTVolume):
        source = scan.source or SourceImage('volume', 'volume', scan.grid)
        volume = axial_slices(replace(scan, source=source))
        path = source.path
        if volume.array.dtype.kind == 'f' and not np.isfinite(volume.array).all():
            raise ValueError(f'{path}: some voxels are NaN or infinite')
    else:
        path = os.fspath(scan)
        if os.path.isdir(path) and series_uid is None:
            series_uid, warning = choose_series(path)
            warnings += [warning] if warning else []
        volume = read_volume(path, series_uid)
    assert volume.source is not None
    warnings += volume.source.warnings
    return LoadedScan(path, volume, (*warnings, *_check(volume, path)))


def _check(volume: CTVolume, path: str) -> list[str]:
    if (
        not _SIDES_MM[0]
        <= min(volume.spacing_mm)
        <= max(volume.spacing_mm)
        <= (_SIDES_MM[1])
    ):
        raise ValueError(
            f'{path}: voxels of {volume.spacing_mm} mm (z, y, x) are not CT voxels; '
            f'expected sides of {_SIDES_MM[0]} to {_SIDES_MM[1]} mm'
        )
    low, high = float(volume.array.min()), float(volume.array.max())
    if low == high:
        raise ValueError(f'{path}: all voxels have the value {low:g}')
    if low >= 0 and high <= 255:
        labels = len(np.unique(volume.array))
        if labels <= _MAX_LABELS:
            raise ValueError(
                f'{path}: only {labels} values from {low:g} to {high:g} occur, as in a '
                'mask; expected a CT scan in HU'
            )
    if high < _TISSUE_HU:
        return [f'no voxel exceeds {_TISSUE_HU} HU, so there seems to be no body']
    if low > _AIR_HU:
        return [
            f'no voxel is below {_AIR_HU} HU, so the values may not be HU, or the '
            'scan shows no air'
        ]
    return []


def detection_volume(volume: CTVolume) -> tuple[CTVolume, list[str]]:
    """Convert a scan to the geometry of the training slices.

    Slices run from head to feet, as in DeepLesion, whose slice numbers increase toward
    the feet. Pixels are square: other pixels are resampled in the plane to their
    shorter side. :meth:`CTVolume.index_to_source` converts positions in the result to
    positions in the file.

    Returns:
        The scan and sentences that describe the changes.
    """
    warnings = []
    slice_mm, row_mm, column_mm = volume.spacing_mm
    if abs(row_mm - column_mm) > _SQUARE * min(row_mm, column_mm):
        side = min(row_mm, column_mm)
        warnings.append(
            f'the pixels of the axial slices are {row_mm:g} x {column_mm:g} mm; they '
            f'were resampled to {side:g} mm'
        )
        volume = resample(volume, (slice_mm, side, side))
    direction = volume.direction.copy()
    direction[:, 2] *= -1
    last = volume.index_to_world((volume.shape[0] - 1, 0, 0))
    x, y, z = last.tolist()
    flipped = CTVolume(
        volume.array[::-1], volume.spacing_mm, (x, y, z), direction, volume.source
    )
    return flipped, warnings
