"""Checking a NIfTI file before it is read."""

import gzip
import math
import os
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from .volume_stream import check_size, expected_bytes

# NIfTI-1 data types and their bits per voxel
_BITS = {
    2: 8,
    4: 16,
    8: 32,
    16: 32,
    64: 64,
    256: 8,
    512: 16,
    768: 32,
    1024: 64,
    1280: 64,
}
_BLOCK = 1 << 20
# Share of the voxel size by which spacing and matrix may differ: headers hold
# single precision, and some programs round to four digits
_TOLERANCE = 0.01


@dataclass
class _Header:
    dims: tuple[int, ...]
    datatype: int
    bits: int
    pixdim: tuple[float, ...]
    offset: float
    scale: tuple[float, float]
    units: int
    codes: tuple[int, int]  # qform, sform
    quaternion: tuple[float, ...]  # b, c, d and the offset x, y, z
    rows: np.ndarray  # (3, 4): sform
    first_voxel: int  # least offset of the voxels


def check_nifti(path: str) -> None:
    """Check header, size and check sum of a NIfTI file.

    ITK takes a spacing of 0 or NaN for 1 mm, reads a file with another magic number
    as Analyze, and fills up a file that is cut off. Where a header states its geometry
    twice (spacing and matrix, or two matrices of the same space), both must agree.

    Args:
        path: ``.nii`` or ``.nii.gz``, of version 1 or 2.

    Raises:
        ValueError: If the file is damaged or no NIfTI; says what was expected.
    """
    with open(path, 'rb') as file:
        packed = file.read(2) == b'\x1f\x8b'
    try:
        with (gzip.open if packed else open)(path, 'rb') as file:
            head = file.read(540)
            header = _parse(head, path)
            start = _check_header(header, path)
            expected = start + expected_bytes(
                header.dims[1 : header.dims[0] + 1],
                header.bits // 8,
                os.path.getsize(path),
                path,
            )
            size = len(head)
            while size <= expected and (block := file.read(_BLOCK)):
                size += len(block)
    except (EOFError, gzip.BadGzipFile, struct.error, zlib.error):
        raise ValueError(f'{path}: the file is damaged or cut off') from None
    check_size(size, expected, path)


def _parse(head: bytes, path: str) -> _Header:
    order = '<' if head[:4] in (struct.pack('<i', 348), struct.pack('<i', 540)) else '>'
    version = {348: 1, 540: 2}.get(struct.unpack_from(f'{order}i', head)[0])
    magic = head[344:348] if version == 1 else head[4:12]
    if version is None or magic not in (b'n+1\0', b'n+2\0\r\n\x1a\n'):
        raise ValueError(
            f'{path}: the file is not what its suffix says; expected NIfTI with header '
            f'and voxels in one file (n+1 or n+2), but the magic number is {magic!r}'
        )

    def field(kind: str, place: int) -> tuple:
        return struct.unpack_from(order + kind, head, place)

    if version == 1:
        return _Header(
            dims=field('8h', 40),
            datatype=field('h', 70)[0],
            bits=field('h', 72)[0],
            pixdim=field('8f', 76),
            offset=field('f', 108)[0],
            scale=field('2f', 112),
            units=field('b', 123)[0],
            codes=field('2h', 252),
            quaternion=field('6f', 256),
            rows=np.array(field('12f', 280)).reshape(3, 4),
            first_voxel=352,
        )
    return _Header(
        dims=field('8q', 16),
        datatype=field('h', 12)[0],
        bits=field('h', 14)[0],
        pixdim=field('8d', 104),
        offset=field('q', 168)[0],
        scale=field('2d', 176),
        units=field('i', 500)[0],
        codes=field('2i', 344),
        quaternion=field('6d', 352),
        rows=np.array(field('12d', 400)).reshape(3, 4),
        first_voxel=544,
    )


def _check_header(header: _Header, path: str) -> int:
    """First byte of the voxels."""
    if not 1 <= header.dims[0] <= 7:
        raise ValueError(
            f'{path}: expected 1 to 7 dimensions, but the header says {header.dims[0]}'
        )
    if _BITS.get(header.datatype) != header.bits:
        raise ValueError(
            f'{path}: expected voxels of integers or floating point numbers, but the '
            f'header says data type {header.datatype} of {header.bits} bits'
        )
    offset = header.offset
    if not (math.isfinite(offset) and offset >= header.first_voxel):
        raise ValueError(
            f'{path}: the offset of the voxels must be {header.first_voxel} or more, '
            f'but is {offset:g}'
        )
    if offset != int(offset):
        raise ValueError(f'{path}: the offset of the voxels is {offset:g}')
    if not all(map(math.isfinite, header.scale)):
        raise ValueError(
            f'{path}: slope and intercept must be finite, but are '
            f'{header.scale[0]:g} and {header.scale[1]:g}'
        )
    spacing = header.pixdim[1:4][: header.dims[0]]
    if not all(math.isfinite(one) and one > 0 for one in spacing):
        raise ValueError(
            f'{path}: the voxel size (pixdim) must be positive, but is '
            + ' x '.join(f'{one:g}' for one in spacing)
        )
    if header.units & 7 not in (0, 1, 2, 3) or header.pixdim[0] not in (-1, 0, 1):
        raise ValueError(
            f'{path}: the header is damaged: spatial unit {header.units & 7}, '
            f'qfac {header.pixdim[0]:g}'
        )
    _check_orientation(header, path)
    return int(offset)


def _check_orientation(header: _Header, path: str) -> None:
    if not all(0 <= code <= 5 for code in header.codes):
        raise ValueError(
            f'{path}: the codes of qform and sform must be 0 to 5, but are '
            f'{header.codes[0]} and {header.codes[1]}'
        )
    spacing = np.array(header.pixdim[1:4])
    qform = _qform(header, spacing, path) if header.codes[0] else None
    if not header.codes[1]:
        return
    if not np.isfinite(header.rows).all():
        raise ValueError(f'{path}: the matrix sform is not finite')
    lengths = np.linalg.norm(header.rows[:, :3], axis=0)
    if header.dims[0] >= 3 and (np.abs(lengths - spacing) > _TOLERANCE * spacing).any():
        raise ValueError(
            f'{path}: the voxel size is {_join(spacing)} mm by pixdim, but '
            f'{_join(lengths)} mm by the matrix sform; the header contradicts itself'
        )
    if qform is None or header.codes[0] != header.codes[1]:
        return
    # Both matrices claim to lead to the same space
    reach = np.array([*header.dims[1:4], 1])
    off = np.abs((header.rows - qform) * reach).sum(1)
    if (
        header.dims[0] >= 3
        and (off > 0.5 * spacing.min() + _TOLERANCE * reach[:3]).any()
    ):
        raise ValueError(
            f'{path}: the matrices qform and sform place the volume up to '
            f'{off.max():.3g} mm apart; the header contradicts itself'
        )


def _qform(header: _Header, spacing: np.ndarray, path: str) -> np.ndarray:
    b, c, d, *place = header.quaternion
    rest = 1 - (b * b + c * c + d * d)
    if not np.isfinite(header.quaternion).all() or rest < -1e-3:
        raise ValueError(f'{path}: the quaternion of qform is no rotation')
    a = math.sqrt(max(rest, 0.0))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    steps = spacing * [1, 1, -1 if header.pixdim[0] < 0 else 1]
    return np.column_stack([rotation * steps, place])


def _join(values: np.ndarray) -> str:
    return ' x '.join(f'{value:.4g}' for value in values)
