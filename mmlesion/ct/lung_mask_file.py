"""Reader of lung masks of other programs on the voxels of a scan."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .files import VOLUME_SUFFIXES
from .label_file import read_labels
from .lung_check import lung_doubts
from .lung_mask import LUNG_THRESHOLD_HU
from .lung_regions import find_lungs
from .lung_sides import LEFT_LUNG, RIGHT_LUNG, left_right_lungs
from .volume import CTVolume

_SUFFIXES = (*VOLUME_SUFFIXES, '.dcm')
#: Files of TotalSegmentator
_LOBES = tuple(
    f'lung_{lobe}'
    for lobe in (
        'upper_lobe_left',
        'lower_lobe_left',
        'upper_lobe_right',
        'middle_lobe_right',
        'lower_lobe_right',
    )
)
_LUNGS = ('lung_left', 'lung_right')
#: Maximum number of labels that are accepted as lungs or lobes if no labels are given:
#: TotalSegmentator and lungmask have at most five lobes.
_MOST_LABELS = 5
_LUNG_HU = -300.0  # a higher mean indicates no lung or no HU
_SMALL_SHARE = 0.2  # minimum volume of air in a lung, relative to the larger lung
_COVERED = 0.05  # minimum fraction of a lung's air inside the mask


def read_lung_mask(
    path: str | os.PathLike, scan: CTVolume, labels: Sequence[int] | None = None
) -> np.ndarray:
    """Read the lung mask of another program for a scan.

    The function accepts a label file (NIfTI, MetaImage, NRRD), such as the output of
    lungmask; a DICOM segmentation (SEG), or a folder with one; and a folder with the
    files of the lobes (``lung_*_lobe_*.nii.gz``) or lungs (``lung_left.nii.gz``,
    ``lung_right.nii.gz``) of TotalSegmentator, whose union is used. The axis order of
    the file may differ from that of the scan, but the voxels must be the same.

    Args:
        path: The file or folder.
        scan: The scan from :func:`read_volume`.
        labels: Label values, or segment numbers of a DICOM segmentation, that are lung.
            Defaults to all values except 0; at most five are accepted.

    Shape:
        - output: (D, H, W)

    Returns:
        Boolean mask on the voxels of the scan.

    Raises:
        FileNotFoundError: If the file or folder, or the file of a lobe, does not exist.
        ModuleNotFoundError: If highdicom is required but not installed.
        ValueError: If the file is damaged, on another grid, without labels, or empty;
            if it is empty in a lung that the scan contains; or if it is not on lung.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such file or folder')
    parts = _lung_files(path) if path.is_dir() else []
    if parts:
        mask = np.logical_or.reduce(
            [read_labels(part, scan).array > 0 for part in parts]
        )
    else:
        mask = _lung_labels(path, scan, labels)
    _check_content(path, mask, scan)
    for doubt in lung_doubts(mask, scan):
        warnings.warn(f'{path}: the lung mask is doubtful: {doubt}', stacklevel=2)
    return mask


def find_lung_mask(folder: str | os.PathLike, series_uid: str) -> Path:
    """Find the lung mask of a series in a folder of masks.

    Args:
        folder: Folder with one file ``<series_uid>.nii.gz`` (or another suffix), or one
            subfolder ``<series_uid>``, for each series.
        series_uid: Series instance UID.

    Returns:
        Path for :func:`read_lung_mask`.

    Raises:
        FileNotFoundError: If the folder or the mask does not exist.
        ValueError: If the folder contains several masks of the series.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: no such folder of lung masks')
    names = (series_uid, *(series_uid + suffix for suffix in _SUFFIXES))
    found = [folder / name for name in names if (folder / name).exists()]
    if not found:
        raise FileNotFoundError(f'{folder}: no lung mask of the series {series_uid}')
    if len(found) > 1:
        raise ValueError(
            f'{folder}: several lung masks of a series: '
            + ', '.join(path.name for path in found)
        )
    return found[0]


def _lung_files(folder: Path) -> list[Path]:
    """Return the files of lobes or lungs of TotalSegmentator in a folder."""
    # TotalSegmentator writes the file of an absent lobe as well, without voxels.
    for names in (_LOBES, _LUNGS):
        found = [(name, sorted(folder.glob(f'{name}.nii*'))) for name in names]
        missing = [name for name, paths in found if not paths]
        if missing and len(missing) < len(names):
            raise FileNotFoundError(
                f'{folder}: expected {len(names)} files of the lungs, but '
                f'{", ".join(missing)} {"is" if len(missing) == 1 else "are"} missing'
            )
        if not missing:
            return [path for _, paths in found for path in paths]
    return []


def _lung_labels(
    path: Path, scan: CTVolume, labels: Sequence[int] | None
) -> np.ndarray:
    found = read_labels(path, scan, labels)
    absent = labels is not None and not set(labels) & set(found.names)
    if any(found.names.values()):
        if absent or (labels is None and len(found.names) > _MOST_LABELS):
            raise ValueError(
                f'{path}: name the segments of the lungs; there are '
                + ', '.join(f'{label} {name}' for label, name in found.names.items())
            )
    elif labels is None and len(found.names) > _MOST_LABELS:
        raise ValueError(
            f'{path}: the mask has {len(found.names)} labels; name those of the lungs '
            '(in the output of TotalSegmentator: 10 11 12 13 14)'
        )
    return found.array > 0


def _check_content(path: Path, mask: np.ndarray, scan: CTVolume) -> None:
    if not mask.any():
        raise ValueError(f'{path}: the lung mask is empty')
    mean = float(scan.array[mask].mean())
    if mean > _LUNG_HU:
        raise ValueError(
            f'{path}: the scan has {mean:.0f} HU on average in the mask, expected less '
            f'than {_LUNG_HU:g} HU as in lung; is it a mask of another scan, or is the '
            'scan not in HU?'
        )
    try:
        lungs, _ = find_lungs(scan, LUNG_THRESHOLD_HU)
    except ValueError:
        return  # a lung without air cannot be checked
    sides = left_right_lungs(lungs, scan)
    size = {side: int((sides == side).sum()) for side in (LEFT_LUNG, RIGHT_LUNG)}
    for side, name in ((LEFT_LUNG, 'left'), (RIGHT_LUNG, 'right')):
        covered = int((mask & (sides == side)).sum())
        if (
            size[side] > _SMALL_SHARE * max(size.values())
            and covered < _COVERED * size[side]
        ):
            raise ValueError(
                f'{path}: the mask is empty in the {name} lung, of which the scan '
                f'shows {size[side] * np.prod(scan.spacing_mm) / 1000:.0f} ml'
            )
