"""Nodules cut out of LIDC-IDRI's scans to slices with and without them."""

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

# Slices are magnified, so that a cell of a map of stride 16 is smaller than a nodule
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
    """Prepare slices of which only crops around nodules are at hand.

    ``crop_dir`` holds ``image/<patient>_R_<nodule>.nii.gz`` (HU) and, of the same
    names, ``nodule_mask/``. A slice is positive where the mask shows the nodule,
    negative where it does not: shortly above and below it. Of each crop as many of
    both are drawn as there are of the rarer ones, so that what tells them apart is the
    nodule alone, and not the crop; a crop that has but one kind gives none.

    Slices are magnified twice and cropped to a square around the crop's middle, filled
    up with an even -850 HU: air would be taken for the darkest phase, which is lung.
    Those whose square cuts the nodule off are left out. What is written is as of
    :func:`prepare_lidc_slices`, each crop a series of its own, named after its file.

    Args:
        crop_dir: Folder of ``image`` and ``nodule_mask``.
        out_dir: Where to write ``slices.csv``, ``slices/`` and
            ``slice_masks/``.
        size: Sides of the square in pixels, after the magnification.
        max_negatives: Most slices of a crop without the nodule.
        seed: Seed of the drawing.
        progress: Show a progress bar.

    Returns:
        What was done; ``problems`` as :func:`prepare_lidc_slices`.

    Raises:
        FileNotFoundError: If there are no crops, or one has no mask.
        ValueError: If an argument is off or nothing can be prepared.
        OSError: If the disk is full or another run holds the folder.
    """
    if size < 1 or max_negatives < 0 or seed < 0:
        raise ValueError(
            'size must be 1 or more, max_negatives and seed 0 or more, '
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
                'no crop has slices both with and without its nodule',
            ]
            raise ValueError(
                f'{why[0]}; no slice of {len(pairs)} crops could be prepared'
            )
        write_slice_index(osp.join(out_dir, SLICE_INDEX_NAME), done.rows)
    return done


def _write_crop(
    paths: Any, out_dir: Any, size: int, max_negatives: int, seed: int
) -> tuple[list[SliceRow], int]:
    """Return rows, and the number of slices whose square cuts off the nodule."""
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
    """Each slice of (D, H, W)."""
    return np.stack(
        [
            cv2.resize(plane, None, fx=_ZOOM, fy=_ZOOM, interpolation=interpolation)
            for plane in array
        ]
    )
