"""Reader of lung masks of other programs on the voxels of a scan."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .files import read_volume
from .lung_check import lung_doubts
from .lung_mask import LUNG_THRESHOLD_HU
from .lung_regions import find_lungs
from .lung_sides import LEFT_LUNG, RIGHT_LUNG, left_right_lungs
from .volume import CTVolume

#: Maximum number of labels that are accepted as lungs or lobes if no labels are given:
#: TotalSegmentator and lungmask have at most five lobes.
_MOST_LABELS = 5
_LUNG_HU = -300.0  # a higher mean is not lung, or not HU
_SMALL_SHARE = 0.2  # of the larger lung: a smaller volume of air is not a lung
_COVERED = 0.05  # of a lung's air: a mask that covers less misses this lung


def read_lung_mask(
    path: str | os.PathLike, scan: CTVolume, labels: Sequence[int] | None = None
) -> np.ndarray:
    """Read the lung mask of another program for a scan.

    Accepted are a label file (NIfTI, MetaImage, NRRD), such as the output of
    lungmask; a DICOM segmentation (SEG), or a folder with one; and a folder with the
    files ``lung_*.nii.gz`` of TotalSegmentator, whose union is used. The axis order of
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
        FileNotFoundError: If the file or folder does not exist.
        ModuleNotFoundError: If highdicom is required but not installed.
        ValueError: If the file is damaged, on another grid, without labels, or empty;
            if it is empty in a lung that the scan contains; or if it is not on lung.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such file or folder')
    if path.is_dir() and (parts := sorted(path.glob('lung_*.nii*'))):
        mask = np.logical_or.reduce([_labels_of(one, scan, None) for one in parts])
    elif path.is_dir() or path.suffix.lower() == '.dcm':
        mask = _dicom_segments(path, scan, labels)
    else:
        mask = _labels_of(path, scan, labels)
    _check_content(path, mask, scan)
    for doubt in lung_doubts(mask, scan):
        warnings.warn(f'{path}: the lung mask is doubtful: {doubt}', stacklevel=2)
    return mask


def _labels_of(path: Path, scan: CTVolume, labels: Sequence[int] | None) -> np.ndarray:
    volume = read_volume(path)
    _check_grid(path, volume, scan)
    values = np.unique(volume.array)
    if values[0] < 0 or (values != np.rint(values)).any():
        raise ValueError(
            f'{path}: expected a mask with whole numbers from 0, but its values reach '
            f'from {values[0]:g} to {values[-1]:g}'
        )
    if labels is not None:
        return np.isin(volume.array, labels)
    found = values[values > 0]
    if len(found) > _MOST_LABELS:
        raise ValueError(
            f'{path}: the mask has {len(found)} labels; name those of the lungs '
            '(in the output of TotalSegmentator: 10 11 12 13 14)'
        )
    return volume.array > 0


def _dicom_segments(
    path: Path, scan: CTVolume, labels: Sequence[int] | None
) -> np.ndarray:
    try:
        import highdicom
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f'{path}: a DICOM segmentation needs highdicom: pip install mmlesion[scan]'
        ) from None
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    if len(files) != 1:
        raise ValueError(
            f'{path}: expected the one file of a DICOM segmentation, or files '
            f'lung_*.nii.gz, but the folder holds {len(files)} other files'
        )
    try:
        segmentation = highdicom.seg.segread(files[0])
        numbers = list(segmentation.segment_numbers)
        chosen = numbers if labels is None else [n for n in numbers if n in labels]
        if not chosen or (labels is None and len(numbers) > _MOST_LABELS):
            names = ', '.join(
                f'{n} {segmentation.get_segment_description(n).segment_label}'
                for n in numbers
            )
            raise _SegmentError(
                f'{path}: name the segments of the lungs; there are {names}'
            )
        found = segmentation.get_volume(
            segment_numbers=chosen, combine_segments=True, skip_overlap_checks=True
        )
    except _SegmentError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # pydicom and highdicom raise many types
        raise ValueError(
            f'{path}: expected a DICOM segmentation on a regular grid ({error})'
        ) from None
    return _onto_scan(path, np.asarray(found.array) > 0, found.affine, scan)


class _SegmentError(Exception):
    """Raised if the segments cannot be selected."""


def _onto_scan(
    path: Path, array: np.ndarray, affine: np.ndarray, scan: CTVolume
) -> np.ndarray:
    """Place an array with an LPS affine matrix on the voxels of the scan.

    A segmentation may omit slices and rows without labels.
    """
    corners = [scan.index_to_world(at) for at in np.vstack([np.zeros(3), np.eye(3)])]
    to_array = np.linalg.inv(affine)
    zero, *units = (to_array[:3, :3] @ at + to_array[:3, 3] for at in corners)
    steps = np.array([unit - zero for unit in units])
    whole = np.rint(steps)
    first = np.rint(zero)
    if (
        np.abs(steps - whole).max() > 0.02
        or np.abs(zero - first).max() > 0.1
        or not np.array_equal(np.abs(whole).sum(0), (1, 1, 1))
    ):
        raise ValueError(f'{path}: the mask is not on the voxels of the scan')
    order = np.abs(whole).argmax(1)
    places = [
        int(first[axis]) + int(whole[number, axis]) * np.arange(scan.shape[number])
        for number, axis in enumerate(order)
    ]
    inside = [(at >= 0) & (at < array.shape[axis]) for at, axis in zip(places, order)]
    mask = np.zeros(scan.shape, bool)
    mask[np.ix_(*inside)] = np.transpose(array, order)[
        np.ix_(*(at[kept] for at, kept in zip(places, inside)))
    ]
    return mask


def _check_grid(path: Path, volume: CTVolume, scan: CTVolume) -> None:
    ends = [np.zeros(3), np.subtract(scan.shape, 1)]
    if volume.shape == scan.shape:
        apart = max(
            np.abs(volume.index_to_world(end) - scan.index_to_world(end)).max()
            for end in ends
        )
        if apart <= 0.5 * min(scan.spacing_mm):
            return
        how = f'its corners lie up to {apart:.1f} mm away from those of the scan'
    else:
        how = f'it has {volume.shape} voxels (z, y, x), the scan {scan.shape}'
    raise ValueError(
        f'{path}: the mask is on another grid than the scan: {how}; expected a mask '
        'of this scan'
    )


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
