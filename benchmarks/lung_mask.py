"""Benchmark of the refined lung mask against the method of a public notebook.

The peer reimplements "improved lung segmentation using watershed" (Kaggle,
Data Science Bowl 2017) with SciPy and scikit-image, slice by slice. With the notebook's
footprints, our mask is identical, which is checked in the run.

The slices are those of a generated chest, 512 x 512 at 0.74 mm. Times are CPU times of
one thread.
"""

import statistics
import time
import tracemalloc
from functools import lru_cache

import cv2
import numpy as np
from scipy import ndimage
from skimage.measure import label, regionprops
from skimage.segmentation import clear_border, watershed

from mmlesion.ct import CTVolume, WatershedSteps, lung_mask
from mmlesion.phantom import Patient, Protocol, paint_anatomy
from mmlesion.phantom.scan import finish, paint_table

NOTEBOOK_THRESHOLD_HU = -400


def octagon():
    """Return the 7 x 7 octagon iterated 8 times: 49 x 49."""
    y, x = np.abs(np.mgrid[-3:4, -3:4])
    return ndimage.iterate_structure(x + y <= 4, 8)


def diamond(radius):
    """Return a pixel after ``radius`` dilations by SciPy's default cross."""
    y, x = np.abs(np.mgrid[-radius : radius + 1, -radius : radius + 1])
    return x + y <= radius


#: The method of the notebook as arguments of ``lung_mask``.
NOTEBOOK_STEPS = WatershedSteps(
    intermediate=diamond(10),
    external=diamond(55),
    top_hat=octagon(),
    closing=np.ones((13, 13)),
    gap_mm2=0,
    fill_between=True,
    outline_only=True,
)


def notebook_mask(slice_hu):
    """Return the mask of one slice by the peer, (H, W) bool."""
    internal = clear_border(slice_hu < NOTEBOOK_THRESHOLD_HU)
    labels = label(internal)
    areas = sorted(region.area for region in regionprops(labels))
    for region in regionprops(labels):
        if len(areas) > 2 and region.area < areas[-2]:
            labels[tuple(region.coords.T)] = 0
    internal = labels > 0
    external = ndimage.binary_dilation(
        internal, iterations=55
    ) ^ ndimage.binary_dilation(internal, iterations=10)
    gradient = np.hypot(ndimage.sobel(slice_hu, 1), ndimage.sobel(slice_hu, 0))
    gradient *= 255 / gradient.max()
    flooded = watershed(gradient, internal * 255 + external * 128)
    outline = ndimage.morphological_gradient(flooded, size=(3, 3)).astype(bool)
    outline |= ndimage.black_tophat(outline, structure=octagon()).astype(bool)
    return ndimage.binary_closing(
        internal | outline, structure=np.ones((5, 5)), iterations=3
    )


@lru_cache
def chest(seed=0, spacing_mm=0.74, levels_mm=(20, 60, 100, 140, 180, 220)):
    """Return slices of a generated chest, from feet to head, as a scan."""
    rng = np.random.default_rng(seed)
    patient, protocol = Patient(rng), Protocol.draw(rng)
    z = np.asarray(levels_mm, float)
    x = (np.arange(512) - 255.5) * spacing_mm
    back_mm = float(patient.half_axes(120)[1]) + 1.3 * patient.fat_mm
    canvas = paint_anatomy(z, x, x, patient, protocol.enhancement)
    paint_table(canvas, back_mm + 6)
    finish(canvas.hu, protocol, rng)
    hu = np.clip(np.rint(canvas.hu), -1024, 3071).astype(np.int16)
    return CTVolume(hu[::-1].copy(), (z[1] - z[0], spacing_mm, spacing_mm))


def like_notebook(volume):
    """Return our mask slice by slice, with the steps of the notebook."""
    return np.concatenate(
        [
            lung_mask(
                CTVolume(slice_hu[None], volume.spacing_mm),
                'watershed',
                NOTEBOOK_THRESHOLD_HU,
                steps=NOTEBOOK_STEPS,
            )
            for slice_hu in volume.array
        ]
    )


def peak_bytes(function):
    """Return the peak memory that one call allocates."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def core_seconds(*functions, repeats=3):
    """Return the median CPU seconds of each function, called in turns."""
    taken = [[] for _ in functions]
    for _ in range(repeats):
        for function, times in zip(functions, taken):
            before = time.thread_time()
            function()
            times.append(time.thread_time() - before)
    return [statistics.median(times) for times in taken]


def run():
    """Measure time per slice, and memory."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)  # one core
    try:
        return _measure()
    finally:
        cv2.setNumThreads(threads)


def _measure():
    volume = chest()
    count = len(volume.array)

    def notebook():
        return np.stack([notebook_mask(slice_hu) for slice_hu in volume.array])

    assert np.array_equal(like_notebook(volume), notebook())
    *ours, peer = core_seconds(
        lambda: like_notebook(volume), lambda: lung_mask(volume, 'watershed'), notebook
    )
    rows = []
    for what, seconds, note in zip(
        ("notebook's footprints", "the paper's steps in mm"),
        ours,
        ('equal masks', None),
    ):
        rows += [
            dict(
                what=f'refined lung mask, 512 x 512, {what}, a slice',
                ours=seconds / count,
                peer=peer / count,
                unit='s',
                peer_name="the notebook's way, SciPy",
                ratio=peer / seconds,
                target=target,
                note=note,
            )
            for target in (10, '< 0.15')
        ]
    # enough 5 mm slices that constant memory is negligible
    thick = CTVolume(volume.array.repeat(8, 0), (5.0, *volume.spacing_mm[1:]))
    for method in ('threshold', 'watershed'):
        size, peak = thick.array.nbytes, peak_bytes(lambda: lung_mask(thick, method))
        rows.append(
            dict(
                what=f'{method}: peak memory, {len(thick.array)} slices 512 x 512',
                ours=peak / 2**20,
                peer=None,
                unit='MiB',
                peer_name=None,
                ratio=None,
                target=f'< {3 * size / 2**20:g}',
                note=f'{peak / size:.2f} times the scan of {size / 2**20:g} MiB',
            )
        )
    return rows
