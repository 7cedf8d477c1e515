"""Benchmark of the slice archive: read time and size against its first format and PNG.

The peer stores the high bytes of HU + 32768 with zlib at level 1 and the low bytes
uncompressed, as the archive did in version 0.1. Both sides check a CRC-32 for each
slice. The times are CPU times of one thread; the files are in the system's cache.

The slices are the DeepLesion slices next to the project, or generated slices if
these are not available.
"""

import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np

from mmlesion.ct import SliceArchive, read_png_hu, write_slice_archive

from .reading import REAL, core_seconds, write_slices

OFFSET_HU = 32768


def pack_first_format(slice_hu):
    """Encode a slice (H, W) as in the first format: shape, split, CRC, bytes."""
    stored = (slice_hu.view(np.uint16) ^ np.uint16(OFFSET_HU)).astype('<u2')
    low, high = np.moveaxis(stored.view(np.uint8).reshape(*slice_hu.shape, 2), -1, 0)
    packed = zlib.compress(high.tobytes(), 1)
    chunk = packed + low.tobytes()
    return slice_hu.shape, len(packed), zlib.crc32(chunk), chunk


def unpack_first_format(file, offset, shape, packed, crc):
    """Read and decode a slice of the first format to HU (H, W), int16."""
    file.seek(offset)
    chunk = file.read(packed + shape[0] * shape[1])
    if zlib.crc32(chunk) != crc:
        raise ValueError('damaged')
    low = np.frombuffer(chunk, np.uint8, offset=packed)
    high = np.frombuffer(zlib.decompress(chunk[:packed]), np.uint8)
    stored = cv2.merge([low.reshape(shape), high.reshape(shape)])
    stored = stored.reshape(shape[0], shape[1] * 2).view('<u2')
    np.bitwise_xor(stored, OFFSET_HU, out=stored)
    return stored.view(np.int16)


def run():
    """Return the rows of the table, see ``benchmarks/__init__.py``."""
    from numcodecs import blosc

    threads, blosc.use_threads = blosc.use_threads, False  # one core
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _measure(Path(folder))
    finally:
        blosc.use_threads = threads


def _measure(folder):
    paths, kind = sorted(REAL.parent.glob('*/*.png')), 'real'
    if not paths:
        write_slices(folder / 'generated')
        paths, kind = sorted((folder / 'generated').glob('*.png')), 'generated'
    slices = [read_png_hu(path) for path in paths]
    path = folder / 'all.slices'
    write_slice_archive(path, range(len(slices)), slices.__getitem__)
    index = []
    with open(folder / 'first', 'wb') as file:
        for slice_hu in slices:
            shape, packed, crc, chunk = pack_first_format(slice_hu)
            index.append((file.tell(), shape, packed, crc))
            file.write(chunk)
    with SliceArchive(path) as archive, open(folder / 'first', 'rb') as file:

        def read_ours():
            for number in range(len(slices)):
                yield archive.read(number)

        def read_first_format():
            for entry in index:
                yield unpack_first_format(file, *entry)

        for expected, *found in zip(slices, read_ours(), read_first_format()):
            for slice_hu in found:
                np.testing.assert_array_equal(slice_hu, expected)
        ours, theirs, png = core_seconds(
            lambda: sum(1 for _ in read_ours()),
            lambda: sum(1 for _ in read_first_format()),
            lambda: sum(1 for path in paths if read_png_hu(path).size),
        )
    size = path.stat().st_size / len(slices) / 1024
    peer_size = (folder / 'first').stat().st_size / len(slices) / 1024
    png_size = sum(path.stat().st_size for path in paths) / len(slices) / 1024
    what = f'one of {len(slices)} {kind} slices'
    milliseconds = 1e3 / len(slices)
    return [
        dict(
            what=f'{what}, read',
            ours=ours * milliseconds,
            peer=peer * milliseconds,
            unit='ms',
            peer_name=name,
            ratio=peer / ours,
            target=target,
        )
        for name, peer, target in (
            ('first format', theirs, 1.5),
            ('PNG, OpenCV', png, None),
        )
    ] + [
        dict(
            what=f'{what}, size',
            ours=size,
            peer=peer,
            unit='KiB',
            peer_name=name,
            ratio=peer / size,
            target=target,
        )
        for name, peer, target in (
            ('first format', peer_size, 1.0),
            ('PNG', png_size, None),
        )
    ]
