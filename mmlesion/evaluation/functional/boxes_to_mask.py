"""Masks of lesions of which only the boxes are known."""

import numpy as np


def boxes_to_mask(boxes, shape, form: str = 'circle') -> np.ndarray:
    """Paint the lesions inside their boxes.

    Source: Behrendt et al., Quantitative evaluation of activation maps for
    weakly-supervised lung nodule segmentation, Sec. 2.1: "we fit a circle inside
    the bounding boxes". In a box that is no square the circle has the short side
    for its diameter and the box's middle for its centre.

    A pixel belongs to the lesion if its middle does. A lesion so small that it
    holds no pixel's middle is the pixel in which its centre lies, so that none
    vanishes from a coarse map.

    Args:
        boxes (ndarray): xyxy in pixels; pixel ``j`` reaches from ``j`` to ``j + 1``.
        shape (tuple[int, int]): Height and width of the mask.
        form (str): 'circle', 'ellipse' (touches all four sides) or 'box'.

    Shape:
        - boxes: (N, 4)
        - returned: (H, W) bool

    Returns:
        ndarray: True on any of the lesions; what lies outside is cut off.

    Raises:
        ValueError: If ``form`` is none of these or a box is not finite or has no
            area.
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
