"""Free-response ROC curve of a detector."""

from .froc_curve import FROCCurve
from .froc_matches import match_boxes


def froc(
    pred_boxes,
    pred_scores,
    gt_boxes,
    iou_thr: float = 0.5,
    plus_one: bool = True,
    legacy: bool = False,
) -> FROCCurve:
    """Sensitivity against false positives per image, by the rules of 3DCE.

    The boxes of all images are ranked by score. A box that overlaps no lesion of
    its image by ``iou_thr`` is one false positive. Any other hits *every* lesion
    that it overlaps by that much; a hit on a lesion already hit is neither a hit
    nor a false positive. Images without lesions count in the denominator.

    Source: K. Yan, M. Bagheri, R. M. Summers, 3DCE, MICCAI 2018, Sec. 3 and the
    released evaluation code.
    Differs from it in: boxes of equal score count together (there, in the order
    of the sort); the curve is flat beyond its end (``legacy`` extrapolates).

    Args:
        pred_boxes (list of array): Boxes of each image, xyxy pixels. An empty
            list stands for an image without boxes.
        pred_scores (list of array): Their scores, higher is surer.
        gt_boxes (list of array): Lesions of each image, xyxy pixels.
        iou_thr (float): Least overlap of a hit.
        plus_one (bool): Sides are ``x2 - x1 + 1`` pixels, as the authors'.
        legacy (bool): Read the curve as the authors, see
            :meth:`FROCCurve.sensitivity_at`.

    Returns:
        FROCCurve: Sensitivity in [0, 1], higher is better; 0 without boxes, NaN
        without lesions or images.

    Shape:
        - pred_boxes[i]: (B_i, 4)
        - pred_scores[i]: (B_i,)
        - gt_boxes[i]: (L_i, 4)

    Raises:
        ValueError: See :func:`match_boxes`.

    Example:
        >>> curve = froc([[[0, 0, 9, 9], [50, 50, 59, 59]]], [[.9, .8]],
        ...              [[[0, 0, 9, 9]]])
        >>> curve.sensitivity_at([0, 1])
        array([1., 1.])
    """
    matches = match_boxes(pred_boxes, pred_scores, gt_boxes, iou_thr, plus_one)
    return matches.curve(legacy=legacy)
