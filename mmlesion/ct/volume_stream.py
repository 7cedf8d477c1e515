"""Check that the stored voxels of a volume file are complete and intact."""

import gzip
import io
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from mmlesion.files.limits import check_limit

_BLOCK = 1 << 20
_LARGE = 512 << 20
_LARGEST = 1e9


def expected_bytes(sizes: Sequence[int], item: int, stored: int, path: str) -> int:
    """Return the number of bytes of a volume, checked against the limits.

    Args:
        sizes: Voxels along each axis, and values per voxel.
        item: Bytes of a value.
        stored: Bytes in the file.
        path: File name for error messages.

    Returns:
        The number of bytes.

    Raises:
        ValueError: If a size is not positive or the volume is too large.
    """
    if not sizes or min(sizes) < 1:
        raise ValueError(
            f'{path}: the sizes must be positive, but are {list(sizes)}; the header is '
            'damaged'
        )
    total = math.prod(sizes) * item
    check_limit(total / 2**20, 'VOLUME_MIB', f'{path}: the volume of {list(sizes)}')
    if total > _LARGE:
        check_limit(
            total / max(stored, 1),
            'EXPANSION',
            f'{path}: unpacking to {total >> 20} MiB, which',
        )
    return total


def check_stream(file: BinaryIO, expected: int, packed: bool, path: str) -> None:
    """Read the stored voxels completely and check their number and checksum.

    Args:
        file: File at the first stored byte.
        expected: Number of bytes according to the header.
        packed: Whether the voxels are compressed (zlib or gzip).
        path: File name for error messages.

    Raises:
        ValueError: If there are more or fewer bytes or the stream is damaged.
    """
    if not packed:
        here = file.tell()
        check_size(file.seek(0, io.SEEK_END) - here, expected, path)
        return
    start = file.read(2)
    file.seek(-len(start), io.SEEK_CUR)
    blocks = _gunzip(file) if start == b'\x1f\x8b' else _inflate(file)
    size = 0
    try:
        for block in blocks:
            size += len(block)
            if size > expected:
                break
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f'{path}: the file is damaged in its packed voxels ({error})'
        ) from None
    check_size(size, expected, path)


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=file) as stream:
        while block := stream.read(_BLOCK):
            yield block


def _inflate(file: BinaryIO) -> Iterator[bytes]:
    stream = zlib.decompressobj()
    while not stream.eof:
        block = stream.unconsumed_tail or file.read(_BLOCK)
        if not block:
            raise EOFError('it is truncated')
        yield stream.decompress(block, _BLOCK)
    if stream.unused_data or file.read(1):
        raise EOFError('bytes follow its end')


def check_size(size: int, expected: int, path: str) -> None:
    """Compare the size of the stored voxels with the header.

    Args:
        size: Number of bytes in the file.
        expected: Number of bytes according to the header.
        path: File name for error messages.

    Raises:
        ValueError: If the numbers differ.
    """
    if size < expected:
        raise ValueError(
            f'{path}: the file is truncated after {size} of {expected} bytes'
        )
    if size > expected:
        raise ValueError(
            f'{path}: there are more voxels than the {expected} bytes that the header '
            'asks for; the file is damaged'
        )


def sibling_path(path: str, name: str) -> str:
    """Return the path of the data file that a header refers to.

    Args:
        path: The header file.
        name: File name in the header.

    Returns:
        The path.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is outside the folder of the header.
    """
    if '\0' in name:
        raise ValueError(f'{path}: the header names {name!r:.80} as its data')
    folder = os.path.dirname(os.path.realpath(path))
    target = os.path.realpath(os.path.join(folder, name))
    if os.path.isabs(name) or os.path.commonpath([folder, target]) != folder:
        raise ValueError(
            f'{path}: the header names {name!r} as its data, which is outside of its '
            'folder; expected a file next to it'
        )
    if not os.path.isfile(target):
        raise FileNotFoundError(
            f'{path}: the header names {name!r} as its data; there is no such file'
        )
    return target


def numbers(text: str, count: int, name: str, path: str) -> list[float]:
    """Parse finite numbers of a header field.

    Args:
        text: The numbers, separated by spaces.
        count: Expected number of values.
        name: Name of the field.
        path: File name for error messages.

    Returns:
        The numbers.

    Raises:
        ValueError: If the text is not this number of finite values.
    """
    try:
        values = [float(part) for part in text.split()]
    except ValueError:
        values = []
    # ITK's matrix inversion may not terminate for larger values.
    if len(values) != count or not all(abs(value) <= _LARGEST for value in values):
        raise ValueError(
            f'{path}: {name} must be {count} finite number(s) of a possible size, but '
            f'is {text!r:.80}'
        )
    return values
