"""IoU of boxes."""

import numpy as np
import numpy.typing as npt


def box_iou(
    boxes1: npt.ArrayLike,
    boxes2: npt.ArrayLike,
    plus_one: bool = False,
    aligned: bool = False,
) -> np.ndarray:
    r"""Compute the intersection over union of axis-aligned boxes.

    .. math::
        \mathrm{IoU}(a, b) = \frac{|a \cap b|}{|a| + |b| - |a \cap b|}

    Args:
        boxes1: (x1, y1, x2, y2) in pixels.
        boxes2: (x1, y1, x2, y2) in pixels.
        plus_one: Whether the sides of a box are ``x2 - x1 + 1``: the corners are the
            first and the last pixel of the box, as in Pascal VOC and in the csv file of
            DeepLesion. Otherwise, the corners are edges, as in COCO and in the data
            sets of this package, and the sides are ``x2 - x1``.
        aligned: Compare the boxes row by row instead of all pairs.

    Returns:
        float64 in [0, 1]; 0 if both boxes have no area. A box with ``x2 < x1`` has no
        area.

    Shape:
        - boxes1: (N, 4)
        - boxes2: (M, 4), with ``aligned`` (N, 4)
        - output: (N, M), with ``aligned`` (N,)

    Raises:
        ValueError: If an array is not (N, 4), or the rows do not pair.
    """
    a = np.asarray(boxes1, dtype=np.float64)
    b = np.asarray(boxes2, dtype=np.float64)
    for name, boxes in (('boxes1', a), ('boxes2', b)):
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(
                f'box_iou: {name} must be (N, 4) as x1, y1, x2, y2, got shape '
                f'{boxes.shape}.'
            )
    if aligned and len(a) != len(b):
        raise ValueError(
            f'box_iou: aligned boxes pair row by row, got {len(a)} and {len(b)}.'
        )
    if not aligned:
        a = a[:, None]  # (N, 1, 4) against (M, 4)
    extra = 1.0 if plus_one else 0.0

    def side(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return np.maximum(high - low + extra, 0.0)

    area_a = side(a[..., 0], a[..., 2]) * side(a[..., 1], a[..., 3])
    area_b = side(b[..., 0], b[..., 2]) * side(b[..., 1], b[..., 3])
    inter = side(
        np.maximum(a[..., 0], b[..., 0]), np.minimum(a[..., 2], b[..., 2])
    ) * side(np.maximum(a[..., 1], b[..., 1]), np.minimum(a[..., 3], b[..., 3]))
    union = area_a + area_b - inter
    return np.divide(inter, union, out=np.zeros_like(union), where=union > 0)
