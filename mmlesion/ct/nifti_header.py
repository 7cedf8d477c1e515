"""Validation of NIfTI files before they are read by ITK."""

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
# ITK's matrix inversion may not terminate for larger values.
_LARGEST_MM = 1e6


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
    first_voxel: int  # minimum offset of the voxels


def check_nifti(path: str | os.PathLike[str]) -> tuple[np.ndarray, list[str]]:
    """Check header, size, checksum and geometry of a NIfTI file.

    Without an error, ITK replaces a voxel size of 0 or NaN by 1 mm, reads a file with
    another magic number as Analyze, pads a truncated file, and replaces an affine that
    it cannot use.

    Args:
        path: A ``.nii`` or ``.nii.gz`` file, version 1 or 2.

    Returns:
        The affine matrix from (i, j, k, 1) to mm in DICOM coordinates (LPS),
        shape (4, 4), and sentences about the assumptions.

    Raises:
        ValueError: If the file is not NIfTI, damaged, truncated, longer than its header
            states or too large, if its affine is missing, invalid or sheared, or if its
            two matrices refer to the same space and contradict each other.
    """
    path = os.fspath(path)
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
            values = _FloatVoxels(header, start, order=head[:4])
            values.feed(head)
            while size <= expected and (block := file.read(_BLOCK)):
                size += len(block)
                values.feed(block)
    except (EOFError, gzip.BadGzipFile, struct.error, zlib.error):
        raise ValueError(f'{path}: the file is damaged or truncated') from None
    check_size(size, expected, path)
    if values.broken:
        raise ValueError(f'{path}: {values.broken} voxels are NaN or infinite')
    return _affine(header, path)


class _FloatVoxels:
    """Counter of NaN and infinite voxels, which ITK silently replaces by 0.

    Args:
        header: Header of the file.
        start: First byte of the voxels.
        order: First four bytes of the file, which determine the byte order.
    """

    def __init__(self, header: _Header, start: int, order: bytes) -> None:
        little = order in (struct.pack('<i', 348), struct.pack('<i', 540))
        kind = {16: 'f4', 64: 'f8'}.get(header.datatype)
        self.dtype = None if kind is None else np.dtype(('<' if little else '>') + kind)
        self.skip = start
        self.rest = b''
        self.broken = 0

    def feed(self, block: bytes) -> None:
        """Process the next bytes of the file, starting with the header."""
        if self.dtype is None:
            return
        skipped = min(self.skip, len(block))
        self.skip -= skipped
        block = self.rest + block[skipped:]
        whole = len(block) - len(block) % self.dtype.itemsize
        self.rest = block[whole:]
        values = np.frombuffer(block[:whole], self.dtype)
        self.broken += values.size - int(np.isfinite(values).sum())


def _parse(head: bytes, path: str) -> _Header:
    order = '<' if head[:4] in (struct.pack('<i', 348), struct.pack('<i', 540)) else '>'
    version = {348: 1, 540: 2}.get(struct.unpack_from(f'{order}i', head)[0])
    magic = head[344:348] if version == 1 else head[4:12]
    if version is None or magic not in (b'n+1\0', b'n+2\0\r\n\x1a\n'):
        raise ValueError(
            f'{path}: the content does not match the suffix; expected NIfTI with '
            'header and voxels in one file (n+1 or n+2), but the magic number is '
            f'{magic!r}'
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
    """Return the first byte of the voxels."""
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
    if header.scale[0] == 0 and header.scale[1] != 0:
        raise ValueError(
            f'{path}: the slope is 0 and the intercept is {header.scale[1]:g}, which '
            'programs read differently; expected a slope of 1'
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
    return int(offset)


def _affine(header: _Header, path: str) -> tuple[np.ndarray, list[str]]:
    """Return the affine matrix of the file: sform before qform."""
    qform_code, sform_code = header.codes
    if not all(0 <= code <= 5 for code in header.codes):
        raise ValueError(
            f'{path}: the codes of qform and sform must be 0 to 5, but are '
            f'{qform_code} and {sform_code}'
        )
    if sform_code == 0 and qform_code == 0:
        raise ValueError(
            f'{path}: the file has neither sform nor qform, so left and right of '
            'the patient are unknown'
        )
    matrix = np.eye(4)
    warnings = []
    if sform_code > 0:
        matrix[:3] = header.rows
    if qform_code > 0:
        qform = _qform(header, path)
        if sform_code == 0:
            matrix = qform
        elif not np.allclose(qform, matrix, atol=0.1):
            if qform_code == sform_code:
                raise ValueError(
                    f'{path}: the matrices qform and sform name the same space '
                    f'(code {sform_code}), but differ; the header contradicts itself'
                )
            warnings.append('sform and qform of the file differ; the sform was used')
    sides = np.linalg.norm(matrix[:3, :3], axis=0)
    if not (np.abs(matrix) <= _LARGEST_MM).all() or not (sides > 0).all():
        raise ValueError(f'{path}: the affine is broken: {matrix[:3].tolist()}')
    cosines = matrix[:3, :3] / sides
    if not np.allclose(cosines.T @ cosines, np.eye(3), atol=1e-3):
        raise ValueError(
            f'{path}: the axes of the affine are not perpendicular (sheared, such as '
            'by a tilted gantry), which is not supported'
        )
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix, warnings  # RAS to LPS


def _qform(header: _Header, path: str) -> np.ndarray:
    """Return the affine matrix of the quaternion; nifti1.h, method 2."""
    b, c, d, *offset = header.quaternion
    rest = 1.0 - (b * b + c * c + d * d)
    if not np.isfinite(header.quaternion).all() or rest < -1e-3:
        raise ValueError(f'{path}: the quaternion of qform is not a rotation')
    a = math.sqrt(max(0.0, rest))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    handedness = -1.0 if header.pixdim[0] < 0 else 1.0
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * (*header.pixdim[1:3], handedness * header.pixdim[3])
    matrix[:3, 3] = offset
    return matrix
