"""Preparation of slices with and without nodules from crops of nodules."""

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
# Pixels around a nodule that random placement never hides, after the magnification
_MARGIN_PX = 4
#: Places of the nodules in the squares.
PLACEMENTS = ('random', 'middle')


def prepare_lidc_crop_slices(
    crop_dir: str,
    out_dir: str,
    size: int = 128,
    max_negatives: int = 20,
    seed: int = 0,
    progress: bool = True,
    placement: str = 'random',
) -> PreparedSlices:
    """Prepare slices from crops around nodules, without the scans.

    ``crop_dir`` contains ``image/<patient>_R_<nodule>.nii.gz`` (HU) and masks of the
    same names in ``nodule_mask/``. A slice is positive if the mask shows the nodule,
    and negative if it does not: shortly above and below the nodule. Equal numbers of
    both are drawn from each crop, so that only the nodule, and not the crop,
    distinguishes them. Crops with only one kind of slice are omitted.

    Slices are magnified twice and cut to a square, which is filled with an even
    -850 HU, because air would become the darkest phase, which is lung. Nodules are in
    the middle of the crops, where a disc in the middle finds them without a network.
    With ``placement='random'`` the nodule is therefore moved to a random place of the
    square, and the crop is cut back by a random width on each side. All slices of a
    crop are placed in the same way. With ``'middle'``, the middle of the crop is the
    middle of the square.

    Slices whose square cuts off a part of the nodule are omitted. The files are those
    of :func:`prepare_lidc_slices`. Each crop is a series named after its file.

    Args:
        crop_dir: Folder of ``image`` and ``nodule_mask``.
        out_dir: Folder of ``slices.csv``, ``slices/`` and ``slice_masks/``.
        size: Sides of the square in pixels, after the magnification.
        max_negatives: Largest number of slices of a crop without the nodule.
        seed: Seed of the choice of slices and of the places.
        progress: Show a progress bar.
        placement: ``'random'`` or ``'middle'``.

    Returns:
        Summary of the preparation; ``problems`` as :func:`prepare_lidc_slices`.

    Raises:
        FileNotFoundError: If there are no crops, or a crop has no mask.
        ValueError: If an argument is not valid, or nothing can be prepared.
        OSError: If the disk is full or another run uses the folder.
    """
    if placement not in PLACEMENTS:
        raise ValueError(
            f'placement must be one of {", ".join(PLACEMENTS)}, got {placement!r}'
        )
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
                rows, cut_off = _write_crop(
                    paths, out_dir, size, max_negatives, seed, placement
                )
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
    paths: Any,
    out_dir: Any,
    size: int,
    max_negatives: int,
    seed: int,
    placement: str,
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
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    corner = tuple((side - size) // 2 for side in mask.shape[1:])
    if placement == 'random':
        places = np.random.default_rng([seed, zlib.crc32(name.encode()), 1])
        corner = _hide_middle(volume.array, mask, size, places)
    masks, cut_off = {}, 0
    for number in np.flatnonzero(mask.any((1, 2))).tolist():
        plane = crop_plane(mask[number], corner, size, 0)
        if plane.sum() == mask[number].sum():
            masks[number] = plane
        else:
            cut_off += 1
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
        (corner[0], corner[1]),
        size,
        _LUNG_HU,
    ), cut_off


def _hide_middle(
    array: np.ndarray, mask: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Cut back the crop in place and draw the corner of the square.

    The nodule is at an equally likely place among all that keep it inside the square.
    """
    corner = []
    for axis in (1, 2):
        occupied = np.flatnonzero(mask.any(tuple({0, 1, 2} - {axis})))
        first, last = int(occupied[0]), int(occupied[-1]) + 1
        room = size - (last - first)
        # A nodule that is larger than the square stays in its middle.
        before = int(rng.integers(room + 1)) if room >= 0 else room // 2
        corner.append(first - before)
        side = array.shape[axis]
        low = int(rng.integers(max(first - _MARGIN_PX, 0) + 1))
        high = side - int(rng.integers(max(side - last - _MARGIN_PX, 0) + 1))
        planes = np.moveaxis(array, axis, 0)
        planes[:low] = planes[high:] = _LUNG_HU
    return corner[0], corner[1]


def _magnify(array: np.ndarray, interpolation: int) -> np.ndarray:
    """Enlarge each slice of (D, H, W)."""
    return np.stack(
        [
            cv2.resize(plane, None, fx=_ZOOM, fy=_ZOOM, interpolation=interpolation)
            for plane in array
        ]
    )
