"""Checks of a NIfTI file that ITK does not make."""

import gzip
import math
import os
import struct
import zlib

import numpy as np

#: Largest number of voxels that is read: 4 GiB at 16 bits, about three times a CT
#: of 3,000 slices.
MAX_VOXELS = 2**31

_HEADER_BYTES = 348


def check_nifti(path: str | os.PathLike[str]) -> tuple[np.ndarray | None, list[str]]:
    """Check size and geometry of a NIfTI-1 file before ITK reads it.

    ITK fills up a file that is cut off, and replaces an affine that it cannot use
    by another one, without an error.

    Args:
        path: A ``.nii`` or ``.nii.gz`` file.

    Returns:
        The affine matrix from (i, j, k, 1) to mm in DICOM's coordinates (LPS),
        shape (4, 4), and sentences about what was assumed. The matrix is None
        for a file that is not NIfTI-1.

    Raises:
        ValueError: If the file is damaged, cut off, longer than its header says
            or too large, or its affine is missing, broken or sheared.
    """
    with open(path, 'rb') as file:
        packed = file.read(2) == b'\x1f\x8b'
    try:
        with (gzip.open if packed else open)(path, 'rb') as file:
            head = file.read(_HEADER_BYTES)
            order = '<' if head[:4] == struct.pack('<i', _HEADER_BYTES) else '>'
            if struct.unpack_from(f'{order}i', head)[0] != _HEADER_BYTES:
                return None, []
            expected = _expected_bytes(head, order, path)
            size = len(head)
            while size <= expected + (1 << 20) and (block := file.read(1 << 20)):
                size += len(block)
    except (EOFError, OSError, OverflowError, struct.error, zlib.error):
        raise ValueError(f'{path}: the file is damaged or cut off') from None
    if size < expected:
        raise ValueError(
            f'{path}: the file is cut off after {size} of {expected} bytes'
        )
    if size > expected + (1 << 20):
        raise ValueError(
            f'{path}: the file holds more than the {expected} bytes that its header '
            'announces'
        )
    return _affine(head, order, path)


def _expected_bytes(head: bytes, order: str, path: str | os.PathLike[str]) -> int:
    dims = struct.unpack_from(f'{order}8h', head, 40)
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise ValueError(
            f'{path}: the header announces the impossible size '
            f'{list(dims[1 : max(dims[0], 0) + 1])}'
        )
    voxels = math.prod(dims[1 : dims[0] + 1])
    if voxels > MAX_VOXELS:
        raise ValueError(
            f'{path}: the header announces {voxels} voxels, more than the '
            f'{MAX_VOXELS} that are read'
        )
    bits = struct.unpack_from(f'{order}h', head, 72)[0]
    start = struct.unpack_from(f'{order}f', head, 108)[0]
    return int(start) + bits // 8 * voxels


def _affine(
    head: bytes, order: str, path: str | os.PathLike[str]
) -> tuple[np.ndarray, list[str]]:
    """The affine that the file asks for: sform before qform."""
    qform_code, sform_code = struct.unpack_from(f'{order}2h', head, 252)
    if sform_code <= 0 and qform_code <= 0:
        raise ValueError(
            f'{path}: the file has neither sform nor qform, so left and right of '
            'the patient are unknown'
        )
    matrix = np.eye(4)
    warnings = []
    if sform_code > 0:
        rows = struct.unpack_from(f'{order}12f', head, 280)
        matrix[:3] = np.reshape(rows, (3, 4))
    if qform_code > 0:
        qform = _qform(head, order)
        if sform_code <= 0:
            matrix = qform
        elif not np.allclose(qform, matrix, atol=0.1):
            warnings.append('sform and qform of the file differ; the sform was used')
    sides = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.isfinite(matrix).all() or not (sides > 0).all():
        raise ValueError(f'{path}: the affine is broken: {matrix[:3].tolist()}')
    cosines = matrix[:3, :3] / sides
    if not np.allclose(cosines.T @ cosines, np.eye(3), atol=1e-3):
        raise ValueError(
            f'{path}: the axes of the affine are not perpendicular (sheared, such as '
            'by a tilted gantry), which is not supported'
        )
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix, warnings  # RAS to LPS


def _qform(head: bytes, order: str) -> np.ndarray:
    """Affine of the quaternion; nifti1.h, method 2."""
    pixdim = struct.unpack_from(f'{order}8f', head, 76)
    b, c, d, *offset = struct.unpack_from(f'{order}6f', head, 256)
    a = math.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    handedness = -1.0 if pixdim[0] < 0 else 1.0
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * (pixdim[1], pixdim[2], handedness * pixdim[3])
    matrix[:3, 3] = offset
    return matrix
