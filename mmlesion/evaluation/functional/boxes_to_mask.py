"""Masks of lesions from their boxes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def boxes_to_mask(
    boxes: npt.ArrayLike, shape: Sequence[int], form: str = 'circle'
) -> np.ndarray:
    """Draw the lesions inside their boxes.

    Source: Behrendt et al., Quantitative evaluation of activation maps for
    weakly-supervised lung nodule segmentation, Sec. 2.1: "we fit a circle inside
    the bounding boxes". In a box that is not a square, the diameter of the circle is
    the shorter side, and its center is the center of the box.

    A pixel belongs to the lesion if its center does. A lesion that contains no center
    of a pixel becomes the pixel that contains the center of the lesion, so that no
    lesion is lost on a coarse map.

    Args:
        boxes: (x1, y1, x2, y2) in pixels; pixel ``j`` covers ``j`` to ``j + 1``.
        shape: Height H and width W of the mask.
        form: ``'circle'``, ``'ellipse'`` (touches all four sides) or ``'box'``.

    Shape:
        - boxes: (N, 4)
        - returned: (H, W) bool

    Returns:
        True inside any lesion. Parts outside the mask are cut off.

    Raises:
        ValueError: If ``form`` is unknown, or a box is not finite or has no area.
    """
    if form not in ('circle', 'ellipse', 'box'):
        raise ValueError(f"form must be 'circle', 'ellipse' or 'box', got {form!r}.")
    height, width = shape
    mask = np.zeros((height, width), dtype=bool)
    for box in np.asarray(boxes, dtype=np.float64).reshape(-1, 4):
        x1, y1, x2, y2 = box
        # Not `<=`: a NaN must fail too.
        if not (x2 > x1 and y2 > y1 and np.isfinite(box).all()):
            raise ValueError(
                f'Box {box.tolist()} must be finite and have x2 > x1 and y2 > y1.'
            )
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        radius_x, radius_y = (x2 - x1) / 2, (y2 - y1) / 2
        if form == 'circle':
            radius_x = radius_y = min(radius_x, radius_y)
        across = np.abs((np.arange(width) + 0.5 - x) / radius_x)
        down = np.abs((np.arange(height) + 0.5 - y) / radius_y)[:, None]
        if form == 'box':
            lesion = (across <= 1) & (down <= 1)
        else:
            lesion = across**2 + down**2 <= 1
        if not lesion.any() and 0 <= x < width and 0 <= y < height:
            lesion[int(y), int(x)] = True
        mask |= lesion
    return mask
