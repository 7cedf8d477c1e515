"""Conversion of LIDC-IDRI scans or crops to nodule patches and an index."""

import csv
import os
import os.path as osp
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
from scipy.signal import correlate

from mmlesion.ct import CTVolume
from mmlesion.ct.nodule_patches import CENTERED, PatchGeometry
from mmlesion.datasets.sources.lidc_consensus import match_readers, reader_votes
from mmlesion.datasets.sources.lidc_series import (
    LIDCSeries,
    find_lidc_series,
    masks_in_volume,
    slice_at,
)
from mmlesion.datasets.sources.lidc_xml import (
    LIDCReading,
    ReaderNodule,
    read_lidc_readings,
)
from mmlesion.datasets.sources.nodule_crops import read_nodule_crop
from mmlesion.files import list_files

from .nodule_writer import NoduleToCut, PreparedLIDC, Series, write_nodules

# Minimum Dice between the mask of a crop and the union of all readers' outlines
_SAME_NODULE = 0.7

_CROP_COLUMNS = ('patient_id', 'nodule_id', 'seriesuid')


def prepare_lidc(
    data_root: str,
    out_dir: str,
    xml: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
    geometry: PatchGeometry = CENTERED,
) -> PreparedLIDC:
    """Prepare nodules from the folder tree of LIDC-IDRI.

    Every folder below ``data_root`` with DICOM files of a CT scan is one series. Chest
    X-rays are ignored. The XML file of a series is read from the same folder, as
    downloaded from TCIA, or from ``xml``.

    Args:
        data_root: The tree, ``LIDC-IDRI-0001/<study>/<series>/*.dcm``.
        out_dir: Output folder of ``nodules.csv`` and ``patches/``.
        xml: Folder or archive of the official XML files, for series without an XML
            file.
        overwrite: Whether to write existing files again.
        progress: Whether to show a progress bar.
        geometry: Geometry of the patches around a nodule.

    Returns:
        A summary of the run. Its ``problems`` contain one sentence for each omitted
        series and nodule, such as missing slices, two series in one folder, or
        outlines that do not match any slice.

    Raises:
        FileNotFoundError: If the tree does not exist or contains no DICOM files.
        ValueError: If nothing can be prepared.
        OSError: If the disk is full or another run has locked the folder.
    """
    found = find_lidc_series(data_root)
    readings = read_lidc_readings(xml, progress) if xml else {}
    series = [
        Series(
            one.folder,
            one.patient,
            partial(_find_in_series, one, readings),
            tuple(path for path in list_files(one.folder) if _is_dicom(path)),
        )
        for one in found
    ]
    return write_nodules(series, len(series), out_dir, overwrite, progress, geometry)


def prepare_lidc_crops(
    crop_dir: str,
    ann_file: str,
    xml: str,
    out_dir: str,
    overwrite: bool = False,
    progress: bool = True,
    geometry: PatchGeometry = CENTERED,
) -> PreparedLIDC:
    """Prepare nodules from crops of CT scans around nodules.

    ``crop_dir`` contains ``image/<patient>_R_<nodule>.nii.gz`` (HU), and
    ``nodule_mask/`` with the same file names. Each crop is matched to a nodule of the
    XML file by its mask: the nodule of the series whose union of outlines has the
    highest Dice. The z coordinates of the slices must agree. In plane, the outlines are
    shifted to the position of maximum overlap. The ratings and the 50 % consensus mask,
    shifted in the same way, are then taken from the XML file.

    Crops end shortly above and below a nodule. If patches need slices beyond the crop,
    the outermost slice is repeated.

    Args:
        crop_dir: Folder of ``image`` and ``nodule_mask``.
        ann_file: Csv file with columns ``patient_id``, ``nodule_id`` and ``seriesuid``.
        xml: Folder or archive of the official XML files.
        out_dir: Output folder of ``nodules.csv`` and ``patches/``.
        overwrite: Whether to write existing files again.
        progress: Whether to show a progress bar.
        geometry: Geometry of the patches around a nodule. Crops are small: larger or
            shifted patches contain more repeated border.

    Returns:
        A summary of the run, as for :func:`prepare_lidc`.

    Raises:
        FileNotFoundError: If crops, csv or XML files are missing.
        ValueError: If the csv is malformed, or nothing can be prepared.
        OSError: If the disk is full or another run has locked the folder.
    """
    images = osp.join(crop_dir, 'image')
    names = sorted(os.listdir(images)) if osp.isdir(images) else []
    names = [name for name in names if name.endswith('.nii.gz')]
    if not names:
        raise FileNotFoundError(f'{images}: the folder contains no crop (.nii.gz)')
    series_of = _read_crop_list(ann_file)
    readings = read_lidc_readings(xml, progress)
    series = [
        Series(
            name,
            name.split('_R_')[0],
            partial(_find_in_crop, crop_dir, name, series_of, readings),
            tuple(osp.join(crop_dir, each, name) for each in ('image', 'nodule_mask')),
        )
        for name in names
    ]
    return write_nodules(series, len(series), out_dir, overwrite, progress, geometry)


def _is_dicom(path: str) -> bool:
    return not path.lower().endswith('.xml')


def _find_in_series(series: LIDCSeries, readings: dict[str, LIDCReading]) -> tuple:
    """Return all nodules of a DICOM series; the pixels are read when needed."""
    reading = series.find_reading(readings)
    read = lru_cache(1)(series.read_volume)
    return series.series_uid, [
        NoduleToCut(
            f'{series.patient}_{series.series_uid[-6:]}_{number}',
            group,
            partial(_locate_in_series, read, group),
        )
        for number, group in enumerate(match_readers(reading.nodules), 1)
    ]


def _locate_in_series(
    read: Callable[[], CTVolume], group: Sequence[ReaderNodule]
) -> tuple:
    volume = read()
    masks, (z, y, x) = masks_in_volume(volume, group)
    depth, height, width = masks.shape[1:]
    mask = np.zeros(volume.shape, bool)
    mask[z : z + depth, y : y + height, x : x + width] = 2 * masks.sum(0) >= len(group)
    return volume, mask


def _find_in_crop(
    crop_dir: str,
    name: str,
    series_of: dict[str, str],
    readings: dict[str, LIDCReading],
) -> tuple:
    path = osp.join(crop_dir, 'image', name)
    nodule_id = name[: -len('.nii.gz')]
    series_uid = series_of.get(nodule_id)
    if series_uid is None:
        raise ValueError(f'{path}: the csv has no row for this patient and nodule')
    reading = readings.get(series_uid)
    if reading is None:
        raise ValueError(f'{path}: there is no XML file of its series {series_uid}')
    volume, shown = read_nodule_crop(path, osp.join(crop_dir, 'nodule_mask', name))
    best, mask, group = 0.0, None, ()
    for candidate in match_readers(reading.nodules):
        dice, consensus = _align_with_crop(candidate, volume, shown)
        if dice > best:
            best, mask, group = dice, consensus, candidate
    if best < _SAME_NODULE:
        raise ValueError(
            f'{path}: no nodule in the XML of its series matches this mask (best '
            f'Dice {best:.2f}, expected at least {_SAME_NODULE})'
        )
    assert mask is not None
    found = volume, mask
    return series_uid, [NoduleToCut(nodule_id, group, lambda: found)]


def _align_with_crop(
    group: Sequence[ReaderNodule], volume: CTVolume, shown: np.ndarray
) -> tuple[float, np.ndarray | None]:
    """Return the Dice of mask and union of outlines, and the shifted consensus."""
    votes, _ = reader_votes(group, lambda z_mm: slice_at(volume, z_mm))
    if not votes:
        return 0.0, None
    union = np.zeros((len(shown), *next(iter(votes.values())).shape), np.uint16)
    for number, plane in votes.items():
        union[number] = plane
    sizes = np.count_nonzero(shown), np.count_nonzero(union)
    best, placed = 0.0, None
    if min(sizes) < _SAME_NODULE / 2 * max(sizes):
        return best, placed
    for find_shift in (_shift_of_boxes, _shift_of_most_overlap):
        laid = _shift(union, find_shift(union > 0, shown), shown.shape)
        # Pixels outside the crop count as a mismatch.
        dice = 2 * np.count_nonzero(shown & (laid > 0)) / sum(sizes)
        if dice > best:
            best, placed = dice, 2 * laid >= len(group)
        if best > 0.95:  # otherwise, the largest outline may begin elsewhere
            break
    return best, placed


def _shift_of_boxes(union: np.ndarray, shown: np.ndarray) -> tuple[int, int]:
    """Return the shift (y, x) in pixels that aligns the first rows and columns."""
    row, column = (
        int(
            np.flatnonzero(shown.any((0, 3 - axis)))[0]
            - np.flatnonzero(union.any((0, 3 - axis)))[0]
        )
        for axis in (1, 2)
    )
    return row, column


def _shift_of_most_overlap(union: np.ndarray, shown: np.ndarray) -> tuple[int, int]:
    """Return the shift (y, x) in pixels with the largest overlap in voxels."""
    common = np.asarray(
        sum(
            correlate(theirs.astype(np.float32), ours.astype(np.float32), method='fft')
            for theirs, ours in zip(shown, union)
        )
    )
    row, column = np.unravel_index(np.argmax(common), common.shape)
    return int(row) - union.shape[1] + 1, int(column) - union.shape[2] + 1


def _shift(
    votes: np.ndarray, shift: tuple[int, int], shape: tuple[int, int, int]
) -> np.ndarray:
    """Shift votes into an empty array and cut off what is outside."""
    laid = np.zeros(shape, votes.dtype)
    target, source = [], []
    for offset, size, count in zip(shift, votes.shape[1:], shape[1:]):
        first, last = max(0, offset), max(0, min(count, offset + size))
        target.append(slice(first, last))
        source.append(slice(first - offset, last - offset))
    laid[(slice(None), *target)] = votes[(slice(None), *source)]
    return laid


def _read_crop_list(path: str) -> dict[str, str]:
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'{path}: no such file; expected a csv with the columns '
            + ', '.join(_CROP_COLUMNS)
        )
    try:
        with open(path, newline='', encoding='utf-8') as file:
            return _parse_crop_list(csv.DictReader(file, strict=True), path)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f'{path}: the file is not a csv file ({error})') from None


def _parse_crop_list(reader: csv.DictReader, path: str) -> dict[str, str]:
    absent = [name for name in _CROP_COLUMNS if name not in (reader.fieldnames or ())]
    if absent:
        raise ValueError(f'{path}: missing column(s) ' + ', '.join(absent))
    return {
        f'{row["patient_id"]}_R_{row["nodule_id"]}': row['seriesuid'] for row in reader
    }
