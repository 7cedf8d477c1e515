"""Conversion of LIDC-IDRI nodule crops to slices with and without nodules."""

import os
import os.path as osp
import zlib
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from mmlesion.ct import VOLUME_SUFFIXES, CTVolume
from mmlesion.ct.lung_crop import crop_plane
from mmlesion.datasets.indices.slice_index import (
    MASK_FOLDER,
    SLICE_FOLDER,
    SLICE_INDEX_NAME,
    SliceRow,
    write_slice_index,
)
from mmlesion.datasets.sources.nodule_crops import find_nodule_crops, read_nodule_crop
from mmlesion.files import lock_folder, write_problems

from .lidc_slices import (
    SLICE_PROBLEMS_NAME,
    PreparedSlices,
    write_slices,
)

# Slices are enlarged, so that a map cell of stride 16 is smaller than a nodule.
_ZOOM = 2
_LUNG_HU = -850


def prepare_lidc_crop_slices(
    crop_dir: str,
    out_dir: str,
    size: int = 128,
    max_negatives: int = 20,
    seed: int = 0,
    progress: bool = True,
) -> PreparedSlices:
    """Prepare slices from crops of CT scans around nodules.

    ``crop_dir`` contains ``image/<patient>_R_<nodule>.nii.gz`` (HU), and
    ``nodule_mask/`` with the same file names. A slice is positive if the mask contains
    the nodule. Negative slices are the slices shortly above and below the nodule. The
    same number of positive and negative slices is drawn from each crop, so that only
    the nodule, and not the crop, can separate the classes. A crop with only one class
    is omitted.

    Slices are enlarged twice and cropped to a square around the center of the crop. The
    rest of the square is filled with -850 HU, because air would become the darkest
    phase, which should be lung. Slices whose square cuts through the nodule are
    omitted. The output has the format of :func:`prepare_lidc_slices`. Each crop is a
    separate series that is named after its file.

    Args:
        crop_dir: Folder of ``image`` and ``nodule_mask``.
        out_dir: Output folder of ``slices.csv``, ``slices/`` and ``slice_masks/``.
        size: Side of the square in pixels, after the enlargement.
        max_negatives: Maximum number of negative slices per crop.
        seed: Random seed of the sampling.
        progress: Whether to show a progress bar.

    Returns:
        A summary of the run; for ``problems`` see :func:`prepare_lidc_slices`.

    Raises:
        FileNotFoundError: If there are no crops, or a crop has no mask.
        ValueError: If an argument is out of range or nothing can be prepared.
        OSError: If the disk is full or another run has locked the folder.
    """
    if size < 1 or max_negatives < 0 or seed < 0:
        raise ValueError(
            'size must be 1 or more, and max_negatives and seed must be 0 or more, '
            f'but are {size}, {max_negatives} and {seed}'
        )
    pairs = find_nodule_crops(
        osp.join(crop_dir, 'image'), osp.join(crop_dir, 'nodule_mask')
    )
    done = PreparedSlices()
    for folder in (SLICE_FOLDER, MASK_FOLDER):
        os.makedirs(osp.join(out_dir, folder), exist_ok=True)
    folders = [osp.join(out_dir, each) for each in ('', SLICE_FOLDER, MASK_FOLDER)]
    with lock_folder(out_dir, folders):
        for paths in tqdm(
            pairs, desc='Slices of crops', unit='nodule', disable=not progress
        ):
            try:
                rows, cut_off = _write_crop(paths, out_dir, size, max_negatives, seed)
            except ValueError as error:
                done.problems.append(str(error))
                continue
            done.rows += rows
            done.series += bool(rows)
            done.cut_off += cut_off
        write_problems(osp.join(out_dir, SLICE_PROBLEMS_NAME), done.problems)
        if not done.rows:
            why = [
                *done.problems,
                'no crop has slices with and without its nodule',
            ]
            raise ValueError(
                f'{why[0]}; no slice of {len(pairs)} crops could be prepared'
            )
        write_slice_index(osp.join(out_dir, SLICE_INDEX_NAME), done.rows)
    return done


def _write_crop(
    paths: Any, out_dir: Any, size: int, max_negatives: int, seed: int
) -> tuple[list[SliceRow], int]:
    """Return rows, and the number of slices whose square cuts through the nodule."""
    volume, mask = read_nodule_crop(*paths)
    name = paths[0].name
    name = next(
        name[: -len(suffix)] for suffix in VOLUME_SUFFIXES if name.endswith(suffix)
    )
    z_mm, y_mm, x_mm = volume.spacing_mm
    volume = CTVolume(
        _magnify(volume.array.astype(np.float32), cv2.INTER_LINEAR),
        (z_mm, y_mm / _ZOOM, x_mm / _ZOOM),
    )
    mask = _magnify(mask.astype(np.uint8), cv2.INTER_NEAREST)
    height, width = mask.shape[1:]
    corner = ((height - size) // 2, (width - size) // 2)
    masks, cut_off = {}, 0
    for number in np.flatnonzero(mask.any((1, 2))).tolist():
        plane = crop_plane(mask[number], corner, size, 0)
        if plane.sum() == mask[number].sum():
            masks[number] = plane
        else:
            cut_off += 1
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    negatives = np.flatnonzero(~mask.any((1, 2)))
    number = min(len(masks), len(negatives), max_negatives)
    if not number:
        return [], cut_off
    chosen = rng.permutation(list(masks))[:number].tolist()
    return write_slices(
        out_dir,
        name.split('_R_')[0],
        name,
        volume,
        rng.permutation(negatives)[:number].tolist(),
        {each: masks[each] for each in sorted(chosen)},
        corner,
        size,
        _LUNG_HU,
    ), cut_off


def _magnify(array: np.ndarray, interpolation: int) -> np.ndarray:
    """Enlarge each slice of (D, H, W)."""
    return np.stack(
        [
            cv2.resize(plane, None, fx=_ZOOM, fy=_ZOOM, interpolation=interpolation)
            for plane in array
        ]
    )
