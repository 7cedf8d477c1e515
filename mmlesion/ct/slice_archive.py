"""Archive file with the slices of one CT series."""

import os
import struct
import zlib
from collections.abc import Callable, Iterable

import numpy as np

from mmlesion.files import atomic_file, check_limit

#: Suffix of a complete file.
ARCHIVE_SUFFIX = '.slices'

_MAGIC = b'MMLSLC2\n'
_MAGIC_V1 = b'MMLSLC1\n'  # zlib on the high bytes; written before version 0.2
_HEADER = struct.Struct('<8sIIQ')  # magic, slices, CRC, bytes of the file
_RECORD = np.dtype(
    [
        ('number', '<i4'),
        ('height', '<i4'),
        ('width', '<i4'),
        ('packed', '<u4'),
        ('crc', '<u4'),
        ('offset', '<u8'),
    ]
)


class SliceArchive:
    """Random access to the slices of one series in a single file.

    The file consists of a header, an index and one Blosc frame per slice. Blosc
    separates the low and the high bytes of the int16 HU values (its *shuffle*
    filter) and compresses them with LZ4-HC. The high bytes hardly change within
    a tissue and compress well. The low bytes contain the noise, and Blosc stores
    them nearly unchanged, so that decompression takes little time. Mean of 36
    DeepLesion slices of 512 x 512 pixels on one core
    (``python -m benchmarks slice_archive``):

    ================================= ======== ==========
    storage                           KiB      ms to read
    ================================= ======== ==========
    PNG (as published)                224      5.4
    first format of this archive      272      0.65
    **Blosc, shuffle, LZ4-HC**        239      0.26
    ================================= ======== ==========

    The full DeepLesion data set (928,020 slices) therefore needs about 228 GB,
    slightly more than its PNG files.

    The header, the index and every frame carry a CRC-32 that is checked on
    reading.

    Args:
        path: A file written by :func:`write_slice_archive`.

    Attributes:
        numbers: Numbers of all slices of the series.
        stored: Numbers of the slices that can be read.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is truncated, damaged or has another format.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._file = open(self.path, 'rb')
        try:
            self._records = self._read_index()
        except BaseException:
            self._file.close()
            raise
        self.numbers = frozenset(self._records)
        self.stored = frozenset(
            number for number, record in self._records.items() if record[3]
        )

    def __enter__(self) -> 'SliceArchive':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, number: int) -> np.ndarray:
        """Read one slice.

        Args:
            number: One of ``numbers``.

        Returns:
            HU as int16, writable.

        Shape:
            - output: (H, W).

        Raises:
            KeyError: If the series has no such slice.
            ValueError: If the slice was not stored or is damaged.
        """
        from numcodecs import Blosc

        _, height, width, packed, crc, offset = self._records[number]
        if not packed:
            raise ValueError(
                f'{self.path}: slice {number} was not stored; prepare the '
                'cache again for more slices'
            )
        self._file.seek(offset)
        frame = self._file.read(packed)
        if zlib.crc32(frame) != crc:
            raise ValueError(
                f'{self.path}: slice {number} is damaged (its check sum '
                'differs); delete the file and prepare the cache again'
            )
        # The frame states its size as well, so that a forged index takes no memory
        stated = int.from_bytes(frame[4:8], 'little')
        if min(height, width) < 1 or stated != 2 * height * width:
            raise ValueError(
                f'{self.path}: slice {number} is damaged: its index states '
                f'{height} x {width} pixels, but it holds {stated} bytes'
            )
        check_limit(height * width / 1e6, 'SLICE_MPX', f'{self.path}: slice {number}')
        slice_hu = np.empty((height, width), '<i2')
        try:
            Blosc().decode(frame, out=slice_hu)
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f'{self.path}: slice {number} is damaged ({error})'
            ) from None
        return slice_hu.astype(np.int16, copy=False)

    def _read_index(self) -> dict[int, tuple]:
        size = os.fstat(self._file.fileno()).st_size
        head = self._file.read(_HEADER.size)
        if head.startswith(_MAGIC_V1):
            raise ValueError(
                f'{self.path}: an earlier version of mmlesion wrote this file in a '
                'format that is no longer read; prepare the cache again'
            )
        if len(head) < _HEADER.size or head[:8] != _MAGIC:
            raise ValueError(
                f'{self.path}: expected slices written by mmlesion, but the '
                'file is ' + ('empty' if not head else 'of another kind')
            )
        _, count, crc, stated = _HEADER.unpack(head)
        index = self._file.read(min(count * _RECORD.itemsize, size))
        if (
            zlib.crc32(index, zlib.crc32(_HEADER.pack(_MAGIC, count, 0, stated))) != crc
            or size != stated
        ):
            raise ValueError(
                f'{self.path}: the file is truncated or damaged; delete it and '
                'prepare the cache again'
            )
        return {record[0]: record for record in np.frombuffer(index, _RECORD).tolist()}


def write_slice_archive(
    path: str | os.PathLike[str],
    numbers: Iterable[int],
    load: Callable[[int], np.ndarray],
    absent: Iterable[int] = (),
) -> int:
    """Write a :class:`SliceArchive` atomically.

    The data are written to a temporary file in the same folder, which is flushed to
    disk and renamed. An interrupted run leaves at most a ``.partial`` file.

    Args:
        path: Output file; replaced if it exists.
        numbers: Numbers of the slices to store.
        load: Function that returns the HU of a slice, (H, W), int16.
        absent: Numbers of slices that the series has but that are not stored.
            Reading such a slice is an error, not a gap.

    Returns:
        The number of bytes written.

    Raises:
        OSError: If the disk is full or not writable.
    """
    from numcodecs import Blosc

    codec = Blosc(cname='lz4hc', clevel=5, shuffle=Blosc.SHUFFLE)
    path = os.fspath(path)
    numbers, absent = sorted(numbers), sorted(absent)
    index = np.zeros(len(numbers) + len(absent), _RECORD)
    index['number'] = numbers + absent
    with atomic_file(path) as file:
        file.seek(_HEADER.size + index.nbytes)
        for record, number in zip(index, numbers):
            slice_hu = load(number)
            frame = codec.encode(np.ascontiguousarray(slice_hu, '<i2'))
            record['height'], record['width'] = slice_hu.shape
            record['packed'], record['offset'] = len(frame), file.tell()
            record['crc'] = zlib.crc32(frame)
            file.write(frame)
        size = file.tell()
        head = _HEADER.pack(_MAGIC, len(index), 0, size)
        crc = zlib.crc32(index.tobytes(), zlib.crc32(head))
        file.seek(0)
        file.write(_HEADER.pack(_MAGIC, len(index), crc, size))
        file.write(index.tobytes())
    return size
