"""Reader of label maps of other programs on the voxels of a scan."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .dicom_folder import starts_like_dicom
from .files import read_volume
from .volume import CTVolume


@dataclass(frozen=True)
class ScanLabels:
    """Label map on the voxels of a scan.

    Args:
        array: Label of each voxel; 0 is background.
        names: Name of each label of the file; empty if the format has no names.

    Shape:
        - array: (D, H, W).
    """

    array: np.ndarray
    names: dict[int, str]


def read_labels(
    path: str | os.PathLike, scan: CTVolume, labels: Sequence[int] | None = None
) -> ScanLabels:
    """Read a label map that another program created for a scan.

    The function accepts a label file (NIfTI, MetaImage, NRRD), and the file of a DICOM
    segmentation (SEG) or its folder. The axis order of the file may differ
    from that of the scan, but the voxels must be the same. A DICOM segmentation may
    omit slices and rows without labels.

    Args:
        path: The file or folder.
        scan: The scan from :func:`read_volume`.
        labels: Labels to keep; others are set to 0. Defaults to all labels.

    Returns:
        The labels on the voxels of the scan.

    Raises:
        FileNotFoundError: If the file or folder does not exist.
        ModuleNotFoundError: If highdicom is required but not installed.
        ValueError: If the file is damaged or on another grid, or its values are not
            labels.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such file or folder')
    if path.is_dir() or starts_like_dicom(str(path)):
        return _read_segmentation(path, scan, labels)
    volume = read_volume(path)
    _check_grid(path, volume, scan)
    values = np.unique(volume.array)
    if values[0] < 0 or (values != np.rint(values)).any():
        raise ValueError(
            f'{path}: expected a mask with whole numbers from 0, but its values reach '
            f'from {values[0]:g} to {values[-1]:g}'
        )
    array = volume.array.astype(np.int32)
    if labels is not None:
        array[~np.isin(array, list(labels))] = 0
    return ScanLabels(array, {int(value): '' for value in values if value > 0})


def _read_segmentation(
    path: Path, scan: CTVolume, labels: Sequence[int] | None
) -> ScanLabels:
    try:
        import highdicom
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f'{path}: a DICOM segmentation needs highdicom: pip install mmlesion[scan]'
        ) from None
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    if len(files) != 1:
        raise ValueError(
            f'{path}: expected the one file of a DICOM segmentation, or files of '
            f'TotalSegmentator (lung_*_lobe_*.nii.gz, or lung_left.nii.gz and '
            f'lung_right.nii.gz), but the folder contains {len(files)} other files'
        )
    try:
        segmentation = highdicom.seg.segread(files[0])
        names = {
            int(number): segmentation.get_segment_description(number).segment_label
            for number in segmentation.segment_numbers
        }
        chosen = [n for n in names if labels is None or n in labels]
        if not chosen:
            return ScanLabels(np.zeros(scan.shape, np.int32), names)
        found = segmentation.get_volume(
            segment_numbers=chosen, combine_segments=True, skip_overlap_checks=True
        )
    except Exception as error:  # pydicom and highdicom raise many types
        raise ValueError(
            f'{path}: expected a DICOM segmentation on a regular grid ({error})'
        ) from None
    array = _onto_scan(path, np.asarray(found.array), found.affine, scan)
    return ScanLabels(array, names)


def _onto_scan(
    path: Path, array: np.ndarray, affine: np.ndarray, scan: CTVolume
) -> np.ndarray:
    """Place an array with an affine matrix of LPS on the voxels of the scan."""
    corners = [scan.index_to_world(at) for at in np.vstack([np.zeros(3), np.eye(3)])]
    to_array = np.linalg.inv(affine)
    zero, *units = (to_array[:3, :3] @ at + to_array[:3, 3] for at in corners)
    steps = np.array([unit - zero for unit in units])
    whole = np.rint(steps)
    first = np.rint(zero)
    if (
        np.abs(steps - whole).max() > 0.02
        or (np.abs(steps - whole).T @ np.subtract(scan.shape, 1)).max() > 0.5
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
    labels = np.zeros(scan.shape, np.int32)
    labels[np.ix_(*inside)] = np.transpose(array, order)[
        np.ix_(*(at[kept] for at, kept in zip(places, inside)))
    ]
    return labels


def _check_grid(path: Path, volume: CTVolume, scan: CTVolume) -> None:
    ends = [at * np.subtract(scan.shape, 1) for at in np.ndindex(2, 2, 2)]
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
