"""Free-response ROC curve of a detector."""

from collections.abc import Sequence

import numpy.typing as npt

from .froc_curve import FROCCurve
from .froc_matches import match_boxes


def froc(
    pred_boxes: Sequence[npt.ArrayLike],
    pred_scores: Sequence[npt.ArrayLike],
    gt_boxes: Sequence[npt.ArrayLike],
    iou_thr: float = 0.5,
    plus_one: bool = False,
    legacy: bool = False,
) -> FROCCurve:
    """Compute sensitivity against false positives per image, by the rules of 3DCE.

    The boxes of all images are ranked by score. A box whose IoU with every lesion of
    its image is below ``iou_thr`` is one false positive. Any other box hits *all*
    lesions with at least this IoU. A second hit on a lesion is neither a hit nor a
    false positive. Images without lesions count in the denominator.

    Source: K. Yan, M. Bagheri, R. M. Summers, 3DCE, MICCAI 2018, Sec. 3 and the
    released evaluation code.
    Differs from it in: boxes with equal scores are counted together (there, in the
    order of the sort); the curve is constant after its end (``legacy`` extrapolates).

    Args:
        pred_boxes: Boxes of each image, (x1, y1, x2, y2) in pixels. An empty list
            means an image without boxes.
        pred_scores: Scores of the boxes, higher is more certain.
        gt_boxes: Lesions of each image, (x1, y1, x2, y2) in pixels.
        iou_thr: Minimum IoU of a hit.
        plus_one: Whether the sides of a box are ``x2 - x1 + 1`` pixels, as in the
            authors' code, whose corners are the first and the last pixel. The result
            is the same for boxes with outer edges and without this option.
        legacy: Read the curve as in the authors' code; see
            :meth:`FROCCurve.sensitivity_at`.

    Returns:
        The curve. Sensitivity is in [0, 1], and higher is better; it is 0 without boxes
        and NaN without lesions or images.

    Shape:
        - pred_boxes[i]: (B_i, 4)
        - pred_scores[i]: (B_i,)
        - gt_boxes[i]: (L_i, 4)

    Raises:
        ValueError: See :func:`match_boxes`.

    Example:
        >>> curve = froc([[[0, 0, 10, 10], [50, 50, 60, 60]]], [[.9, .8]],
        ...              [[[0, 0, 10, 10]]])
        >>> curve.sensitivity_at([0, 1])
        array([1., 1.])
    """
    matches = match_boxes(pred_boxes, pred_scores, gt_boxes, iou_thr, plus_one)
    return matches.curve(legacy=legacy)
