"""Bounding box of the body in an axial slice."""

from typing import Any

import cv2
import numpy as np

#: "An approximate background intensity value" of the authors' ``get_mask``
#: (3DCE): 32000 in the 16-bit PNGs, whose offset is 32768.
BODY_THRESHOLD_HU = -768


def body_box(
    slice_hu: np.ndarray, threshold_hu: float = BODY_THRESHOLD_HU, kernel_size: int = 7
) -> tuple[int, int, int, int]:
    """Compute the tight bounding box of the body in one axial slice.

    Pixels above the threshold are processed by morphological opening with a square,
    which removes the table. The box encloses the remaining pixels. Source: Yan et al.,
    3DCE, ``get_mask`` and ``get_range`` with margin 0. Differs from it in: OpenCV
    replaces SciPy. With zeros outside the image the result is identical, and 70 times
    faster.

    Args:
        slice_hu: One slice in HU.
        threshold_hu: Values strictly above this threshold count as body.
        kernel_size: Side of the square in pixels.

    Shape:
        - slice_hu: (H, W).

    Returns:
        ``(x0, y0, x1, y1)`` in pixels, end exclusive. The whole image if
        no pixel remains after the opening.

    Raises:
        ValueError: If ``slice_hu`` is not a 2-D array or the kernel is empty.
    """
    slice_hu = np.asarray(slice_hu)
    if slice_hu.ndim != 2:
        raise ValueError(
            f'body_box needs one slice (H, W), but got shape {slice_hu.shape}'
        )
    if kernel_size < 1:
        raise ValueError(f'kernel_size must be positive, but is {kernel_size}')
    height, width = slice_hu.shape
    mask = (slice_hu > threshold_hu).view(np.uint8)
    kernel = np.ones((kernel_size, kernel_size), np.uint8)
    zeros: dict[str, Any] = dict(borderType=cv2.BORDER_CONSTANT, borderValue=0)
    # With an even kernel, the dilation is anchored at the other central pixel.
    # Otherwise the result would be shifted by a pixel.
    middle, other = kernel_size // 2, (kernel_size - 1) // 2
    mask = cv2.erode(mask, kernel, anchor=(middle, middle), **zeros)
    mask = cv2.dilate(mask, kernel, anchor=(other, other), **zeros)
    x0, y0, box_width, box_height = cv2.boundingRect(mask)
    if box_width == 0 or box_height == 0:
        return 0, 0, width, height
    return x0, y0, x0 + box_width, y0 + box_height
