"""Benchmark of reading 9 slices of 512 x 512 from PNG and cache.

The benchmark uses one core and reads one sample after the other, from the path of the
key slice to the network input: (9, h, w) float32, with the mean of 50 subtracted. The
peer reimplements the reader of 3DCE (Yan et al., ``load_ct_img.py``): each slice is
looked up by ``os.path.exists``, decoded from PNG, interpolated, merged and
windowed in float64 on the whole image, the border is found by SciPy's opening, and the
image is cropped, resized, transposed. Like theirs, it decodes a slice once per sample,
so the cost of decoding is the same for both; the remaining cost is a separate row.

Rates are samples per second *of CPU time* of one thread. The files are in the system's
cache.

The slices are the real 13-slice sub-volume of DeepLesion, if it is next to
the project, otherwise generated slices. The slice interval is 5 mm (49 % of
DeepLesion) or 1 mm (48 %), so both are measured.
"""

import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import binary_opening

from mmlesion.ct import plan_slices, read_png_hu, write_png_hu, write_slice_archive
from mmlesion.datasets.transforms import (
    CropToBody,
    LoadSliceStack,
    ResizeToSpacing,
    WindowHU,
)

NUM_SLICES = 9
REAL = (
    Path(__file__)
    .resolve()
    .parents[1]
    .joinpath('../shared/data/deeplesion/Images_png/000015_01_01')
)


def authors_reading(key_path, slice_interval_mm, spacing_mm):
    """Read a sample with the peer, (9, h, w) float32."""
    folder, name = os.path.split(key_path)
    key = int(name[:-4])
    decoded = {}

    def slice_at(delta):
        delta = int(delta)
        path = f'{folder}/{key + delta:03d}.png'
        while delta and not os.path.exists(path):
            delta -= int(np.sign(delta))
            path = f'{folder}/{key + delta:03d}.png'
        if path not in decoded:
            decoded[path] = cv2.imread(path, -1)
        return decoded[path]

    images = [slice_at(0)]
    mask = binary_opening(images[0] > 32000, structure=np.ones((7, 7)))
    step = 2.0 / slice_interval_mm
    far, near = step - np.floor(step), np.ceil(step) - step
    for place in range(1, NUM_SLICES // 2 + 1):
        position = step * place
        if far == 0:
            before, after = slice_at(-position), slice_at(position)
        else:
            before, after = (
                far * slice_at(sign * np.ceil(position))
                + near * slice_at(sign * np.floor(position))
                for sign in (-1, 1)
            )
        images = [before, *images, after]
    image = cv2.merge([one.astype(float) for one in images])
    image = image.astype(np.float32) - 32768
    image = image.astype(float)
    image -= -1024
    image /= 3071 + 1024
    image[image > 1] = 1
    image[image < 0] = 0
    image *= 255
    rows, columns = np.nonzero(mask.astype(np.int32))
    image = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1, :]
    scale = spacing_mm / 0.8
    scale *= min(1, 512 / (max(image.shape[:2]) * scale))
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    image -= 50
    blob = np.zeros((1, NUM_SLICES, *image.shape[:2]), np.float32)
    blob[0] = image.transpose(2, 0, 1)
    return blob[0]


def our_reading(cache_dir=None, interpolation='exact'):
    """Return our four transforms as one function (path, interval, spacing) -> stack."""
    transforms = (
        LoadSliceStack(NUM_SLICES, interpolation=interpolation, cache_dir=cache_dir),
        CropToBody(),
        WindowHU(),
        ResizeToSpacing(),
    )

    def read(key_path, slice_interval_mm, spacing_mm):
        sample = dict(
            img_path=key_path,
            interval_mm=slice_interval_mm,
            spacing_mm=spacing_mm,
            instances=[],  # a sample of a data set
        )
        for transform in transforms:
            sample = transform(sample)
        image = np.ascontiguousarray(sample['img'].transpose(2, 0, 1))
        image -= 50
        return image

    return read


def write_slices(folder, seed=0):
    """Write 13 generated slices: an elliptic body on a table, with noise."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:512, :512]
    body = ((columns - 256) / 250) ** 2 + ((rows - 256) / 165) ** 2 < 1
    table = (rows > 440) & (rows < 443)
    folder.mkdir(parents=True)
    for number in range(103, 116):
        slice_hu = np.where(body, 40, np.where(table, -300, -1000))
        noise = cv2.GaussianBlur(generator.normal(0, 45, (512, 512)), None, 1)
        write_png_hu(folder / f'{number:03d}.png', np.maximum(slice_hu + noise, -1024))


def core_seconds(*functions, repeats=25):
    """Return the median CPU seconds of each function, called in turns."""
    taken = [[] for _ in functions]
    for _ in range(repeats + 1):
        for function, times in zip(functions, taken):
            before = time.thread_time()
            function()
            times.append(time.thread_time() - before)
    return [statistics.median(times[1:]) for times in taken]


def decode_only(key_path, slice_interval_mm):
    """Decode the slices of a sample, which every reader of PNG files must do."""
    folder, name = os.path.split(key_path)
    offsets = {
        offset
        for mix in plan_slices(NUM_SLICES, slice_interval_mm)
        for offset, _ in mix
    }
    for offset in offsets:
        path = f'{folder}/{int(name[:-4]) + offset:03d}.png'
        if os.path.exists(path):
            cv2.imread(path, -1)


def run():
    """Return the rows of the table, see ``benchmarks/__init__.py``."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)  # one core
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _measure(Path(folder))
    finally:
        cv2.setNumThreads(threads)


def _measure(folder):
    source, kind = REAL, 'real'
    if not source.is_dir():
        source, kind = folder / 'Images_png' / REAL.name, 'generated'
        write_slices(source)
    numbers = [int(path.stem) for path in source.glob('*.png')]
    write_slice_archive(
        folder / f'{REAL.name}.slices',
        numbers,
        lambda number: read_png_hu(source / f'{number:03d}.png'),
    )
    rows = []
    for interval_mm in (5.0, 1.0):
        rows += _measure_interval(
            str(source / '109.png'),
            interval_mm,
            str(folder),
            f'9 {kind} slices, {interval_mm:g} mm apart',
        )
    return rows


def _measure_interval(key_path, interval_mm, cache_dir, what):
    sample = key_path, interval_mm, 0.9375
    peer_name = "3DCE's reader, reimplemented"
    ours, cached, peer, decoding = core_seconds(
        partial(our_reading(), *sample),
        partial(our_reading(cache_dir), *sample),
        partial(authors_reading, *sample),
        partial(decode_only, *sample[:2]),
    )
    share = (
        f'{decoding * 1e3:.1f} ms of {ours * 1e3:.1f} and of '
        f'{peer * 1e3:.1f} are decoding'
    )
    rows = [
        dict(
            what=f'{what}, from PNG',
            ours=1 / ours,
            peer=1 / peer,
            unit='samples/s',
            peer_name=peer_name,
            ratio=peer / ours,
            target=target,
            note=share,
        )
        for target in ('>= 10', 8)
    ]
    rows.append(
        dict(
            what=f'{what}, all but decoding',
            ours=(ours - decoding) * 1e3,
            peer=(peer - decoding) * 1e3,
            unit='ms',
            peer_name=peer_name,
            ratio=(peer - decoding) / (ours - decoding),
            target=None,
        )
    )
    rows.append(
        dict(
            what=f'{what}, from the cache',
            ours=1 / cached,
            peer=1 / peer,
            unit='samples/s',
            peer_name=f'{peer_name}, from PNG',
            ratio=peer / cached,
            target='>= 60',
        )
    )
    return rows
