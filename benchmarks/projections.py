"""Benchmark of projections of a 256 x 256 x 216 scan against masked means of NumPy.

There are 7 areas (the lungs and six lung regions), 3 HU ranges and 3 axes. Times are
those of one core after the mask. The peer computes each of the 63 projections by
``numpy.ma.mean`` from the part of the scan. Another row is the time of our projections
after a rotation of the scan, including the rotation.
"""

import numpy as np
import SimpleITK as sitk  # noqa: N813

from benchmarks import alternate
from mmlesion.ct import (
    GRID_SHAPE,
    HU_RANGES,
    ROTATIONS_DEG,
    CTVolume,
    project_lungs,
    region_slices,
    resample_to_grid,
)


def masked_means(array, mask):
    """Return the projections of the peer by (area, axis, range)."""
    parts = dict(whole=(slice(None),) * 3, **region_slices(array.shape))
    means = {}
    for area, part in parts.items():
        for number, (low, high) in enumerate(HU_RANGES):
            chosen = mask[part] & (array[part] >= low)
            chosen &= array[part] <= high if number == 2 else array[part] < high
            values = np.ma.array(array[part], mask=~chosen)
            for axis in range(3):
                means[area, axis, number] = values.mean(axis).filled(np.nan)
    return means


def chest(seed=0):
    """Return HU and mask of two lung ellipsoids in soft tissue with noise."""
    z, y, x = np.ogrid[: GRID_SHAPE[0], : GRID_SHAPE[1], : GRID_SHAPE[2]]
    mask = np.zeros(GRID_SHAPE, bool)
    for middle in (78, 178):
        mask |= (
            ((x - middle) / 42) ** 2 + ((y - 125) / 65) ** 2 + ((z - 108) / 95) ** 2
        ) < 1
    noise = np.random.default_rng(seed).normal(0, 150, GRID_SHAPE)
    return (np.where(mask, -800, 40) + noise).astype(np.int16), mask


def run():
    """Return the rows of the table, see ``benchmarks/__init__.py``."""
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        return _measure()
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _measure():
    array, mask = chest()
    volume = CTVolume(array, (2.0, 1.4, 1.4))
    lungs = CTVolume(mask.view(np.uint8), volume.spacing_mm)
    ours = project_lungs(volume, mask, mode='exclude')
    for (area, axis, number), mean in masked_means(array, mask).items():
        found = ours[area][('axial', 'coronal', 'sagittal')[axis]][..., number]
        np.testing.assert_allclose(found[::-1] if axis else found, mean, rtol=1e-5)

    def turn():
        angles = ROTATIONS_DEG[-1]
        project_lungs(
            resample_to_grid(volume, volume.shape, angles),
            resample_to_grid(lungs, volume.shape, angles, 'nearest', 0).array,
        )

    seconds, peer = alternate(
        lambda: project_lungs(volume, mask, mode='exclude'),
        lambda: masked_means(array, mask),
    )
    turned, _ = alternate(turn, lambda: None, min_repeats=3)
    what = 'projections of 256 x 256 x 216, 7 areas, 3 ranges, 3 axes'
    return [
        dict(
            what=what,
            ours=seconds,
            peer=peer,
            unit='s',
            peer_name='numpy.ma.mean',
            ratio=peer / seconds,
            target='< 2',
        ),
        dict(
            what=f'{what}, after a rotation of scan and mask',
            ours=turned,
            peer=None,
            unit='s',
            peer_name=None,
            ratio=None,
            target=None,
            note='27 of these are the training images of a scan',
        ),
    ]
