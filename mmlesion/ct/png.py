"""Reading and writing of images, such as the 16-bit PNG slices of DeepLesion."""

import contextlib
import os
import struct

import cv2
import numpy as np

from mmlesion.files import atomic_file, check_limit

#: Offset of the stored values (DeepLesion's ``README.txt``: subtract 32768
#: from the pixel intensity to obtain Hounsfield units).
PNG_OFFSET_HU = 32768

_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_END = b'IEND\xaeB`\x82'


def write_image(
    path: str | os.PathLike[str], image: np.ndarray, compression: int | None = None
) -> None:
    """Write an image file.

    OpenCV's ``imwrite`` does not notice that a disk is full when the last bytes of a
    file are written. This function does.

    Args:
        path: The file; its suffix states the format.
        image: Pixels; the channels are blue, green, red, as in OpenCV.
        compression: zlib level of a PNG, 0 to 9. Defaults to OpenCV's.

    Shape:
        - image: (H, W) or (H, W, 3), uint8, or uint16 for PNG.

    Raises:
        OSError: If the file cannot be written. No partial file remains.
    """
    path = os.fspath(path)
    options = [] if compression is None else [cv2.IMWRITE_PNG_COMPRESSION, compression]
    _, content = cv2.imencode(
        os.path.splitext(path)[1], np.ascontiguousarray(image), options
    )
    try:
        with open(path, 'wb') as file:
            file.write(content.data)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.remove(path)
        raise OSError(
            error.errno, f'{path}: the image could not be written; is the disk full?'
        ) from error


def read_png_hu(path: str | os.PathLike[str]) -> np.ndarray:
    """Read one 16-bit DeepLesion PNG as Hounsfield units.

    Args:
        path: The PNG file.

    Returns:
        HU as int16, writable.

    Shape:
        - output: (H, W).

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not a PNG, is truncated or damaged, or does not have
            one 16-bit channel.
    """
    path = os.fspath(path)
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except FileNotFoundError:
        raise FileNotFoundError(f'{path}: no such slice') from None
    return decode_png_hu(data, path)


def decode_png_hu(data: bytes, name: str) -> np.ndarray:
    """Decode the bytes of one 16-bit PNG to Hounsfield units.

    Args:
        data: Content of the file.
        name: Name of the file in error messages.

    Returns:
        HU as int16.

    Shape:
        - output: (H, W).

    Raises:
        ValueError: As :func:`read_png_hu`.
    """
    if data[:8] != _SIGNATURE:
        raise ValueError(
            f'{name}: expected a 16-bit PNG, but the file is '
            + ('empty' if not data else 'no PNG')
        )
    depth, color = data[24:25], data[25:26]
    if len(data) > 25 and (depth, color) != (b'\x10', b'\x00'):
        raise ValueError(
            f'{name}: expected a PNG of one 16-bit channel (HU + 32768), but '
            f'it has {depth[0]} bits and PNG color type {color[0]}'
        )
    # A damaged header may request more memory than any slice needs.
    width, height = struct.unpack('>II', data[16:24]) if len(data) > 24 else (0, 0)
    check_limit(width * height / 1e6, 'SLICE_MPX', f'{name}: the slice')
    # Some builds of OpenCV decode a truncated file to an image that is black from the
    # cut on, so the end of the file is checked first.
    if _END not in data[-64:]:
        raise ValueError(f'{name}: the PNG is truncated after {len(data)} bytes')
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint16 or image.ndim != 2:
        raise ValueError(f'{name}: the PNG is damaged and cannot be decoded')
    # Flipping the top bit subtracts 32768 if the result is read as signed.
    np.bitwise_xor(image, PNG_OFFSET_HU, out=image)
    return image.view(np.int16)


def write_png_hu(
    path: str | os.PathLike[str], slice_hu: np.ndarray, compression: int = 3
) -> None:
    """Write one slice as DeepLesion does: 16-bit PNG of HU + 32768.

    Args:
        path: The file.
        slice_hu: HU; rounded to integers.
        compression: zlib level, 0 to 9.

    Shape:
        - slice_hu: (H, W).

    Raises:
        ValueError: If the array is not 2-D, not finite, or exceeds
            [-32768, 32767] HU.
        OSError: If the file cannot be written. No partial file remains.
    """
    slice_hu = np.asarray(slice_hu)
    if slice_hu.ndim != 2 or slice_hu.size == 0:
        raise ValueError(
            f'{os.fspath(path)}: a slice has shape (H, W), but got {slice_hu.shape}'
        )
    if slice_hu.dtype.kind == 'f':
        if not np.isfinite(slice_hu).all():
            raise ValueError(f'{os.fspath(path)}: the slice holds NaN or infinite HU')
        slice_hu = np.rint(slice_hu)
    if slice_hu.min() < -32768 or slice_hu.max() > 32767:
        raise ValueError(
            f'{os.fspath(path)}: HU of a 16-bit PNG lie in [-32768, 32767], '
            f'but the slice reaches from {slice_hu.min()} to {slice_hu.max()}'
        )
    stored = (slice_hu.astype(np.int32) + PNG_OFFSET_HU).astype(np.uint16)
    encoded, data = cv2.imencode(
        '.png', stored, [cv2.IMWRITE_PNG_COMPRESSION, compression]
    )
    if not encoded:
        raise OSError(f'{os.fspath(path)}: the slice could not be encoded')
    with atomic_file(path) as file:
        file.write(data.tobytes())
