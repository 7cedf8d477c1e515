"""Overlap of 3-D boxes."""

import numpy as np
from numpy.typing import ArrayLike


def box_iou_3d(boxes1: ArrayLike, boxes2: ArrayLike, mode: str = 'iou') -> np.ndarray:
    r"""Compute the overlap of axis-aligned 3-D boxes.

    .. math::
        \mathrm{IoU}(a, b) = \frac{|a \cap b|}{|a| + |b| - |a \cap b|}
        \qquad \mathrm{IoBB}(a, b) = \frac{|a \cap b|}{|a|}

    Args:
        boxes1: Boxes (x1, y1, z1, x2, y2, z2); corners are outer edges.
        boxes2: Boxes in the same unit.
        mode: ``'iou'``, or ``'iobb'``: over the volume of ``boxes1``, the detected box
            (Yan et al., IEEE TMI 2020).

    Returns:
        float64 in [0, 1]; 0 where the denominator is 0.

    Shape:
        - boxes1: (N, 6)
        - boxes2: (M, 6)
        - output: (N, M)

    Raises:
        ValueError: If an array is not (N, 6) or the mode is unknown.
    """
    a, b = np.asarray(boxes1, np.float64), np.asarray(boxes2, np.float64)
    for name, boxes in (('boxes1', a), ('boxes2', b)):
        if boxes.ndim != 2 or boxes.shape[1] != 6:
            raise ValueError(
                f'box_iou_3d: {name} must be (N, 6) as x1, y1, z1, x2, y2, z2, got '
                f'shape {boxes.shape}'
            )
    if mode not in ('iou', 'iobb'):
        raise ValueError(f"mode must be 'iou' or 'iobb', but is {mode!r}")
    a = a[:, None]  # (N, 1, 6) against (M, 6)
    sides = np.minimum(a[..., 3:], b[..., 3:]) - np.maximum(a[..., :3], b[..., :3])
    inter = np.maximum(sides, 0).prod(-1)
    volume_a = np.maximum(a[..., 3:] - a[..., :3], 0).prod(-1)
    volume_b = np.maximum(b[..., 3:] - b[..., :3], 0).prod(-1)
    union = volume_a + volume_b - inter
    if mode == 'iobb':
        union = np.broadcast_to(volume_a, inter.shape)
    return np.divide(inter, union, out=np.zeros_like(union), where=union > 0)
