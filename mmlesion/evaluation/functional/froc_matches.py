"""Matches of boxes and lesions, from which FROC curves are computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .box_iou import box_iou
from .froc_curve import FROCCurve

# Box-lesion pairs compared at a time, which limits the memory to about 200 MB.
PAIRS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class FROCMatches:
    """Boxes and lesions of all images, and the pairs that overlap enough.

    Boxes and lesions are numbered in the order of the images. A lesion is hit at all
    thresholds up to the highest score of the boxes that hit it. A box that hits no
    lesion is a false positive. These are the rules of the authors.

    Attributes:
        num_images: Number of images.
        box_image: Image of each box.
        box_score: Score of each box.
        lesion_image: Image of each lesion.
        hit_box: Boxes of the pairs whose IoU is large enough.
        hit_lesion: Lesions of these pairs.

    Shape:
        - box_image, box_score: (B,)
        - lesion_image: (L,)
        - hit_box, hit_lesion: (K,)
    """

    num_images: int
    box_image: np.ndarray
    box_score: np.ndarray
    lesion_image: np.ndarray
    hit_box: np.ndarray
    hit_lesion: np.ndarray

    @property
    def num_lesions(self) -> int:
        """Number of lesions."""
        return len(self.lesion_image)

    @cached_property
    def ranking(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes in descending order of score, with their points on the curve.

        Boxes of equal score share a point of the curve, because no threshold separates
        them. The curve therefore does not depend on the order of images or boxes.

        Returns:
            ``order`` (B,), box numbers; ``box_point`` (B,), the point of each box;
            ``scores`` (P,) in descending order.
        """
        order = np.argsort(-self.box_score, kind='stable')
        ranked = self.box_score[order]
        first = np.r_[True, ranked[1:] != ranked[:-1]][: len(ranked)]
        box_point = np.empty(len(order), dtype=np.int64)
        box_point[order] = np.cumsum(first) - 1
        return order, box_point, ranked[first]

    def events(
        self, lesions: np.ndarray | None = None, others: str = 'fp'
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the point at which each lesion is hit, and the false positives.

        Args:
            lesions: Mask (L,) of the lesions that count. By default, all count.
            others: How to count a box that hits only lesions that do not count.
                ``'fp'``: a false positive, as in the subgroups of 3DCE according to
                its authors. ``'ignore'``: neither a hit nor a false positive.

        Returns:
            ``lesion_point`` (L,), which is the number of points for a lesion that is
            never hit or does not count, and ``is_fp`` (B,).

        Raises:
            ValueError: If the mask or ``others`` is not as described.
        """
        if others not in ('fp', 'ignore'):
            raise ValueError(f"others must be 'fp' or 'ignore', got {others!r}.")
        _, box_point, scores = self.ranking
        hit_box, hit_lesion = self.hit_box, self.hit_lesion
        is_fp = np.ones(len(self.box_score), dtype=bool)
        if others == 'ignore':
            is_fp[hit_box] = False
        if lesions is not None:
            lesions = np.asarray(lesions)
            if lesions.dtype != bool or lesions.shape != (self.num_lesions,):
                raise ValueError(
                    f'lesions must be a mask of {self.num_lesions} booleans, got '
                    f'{lesions.dtype} of shape {lesions.shape}.'
                )
            counted = lesions[hit_lesion]
            hit_box, hit_lesion = hit_box[counted], hit_lesion[counted]
        is_fp[hit_box] = False
        lesion_point = np.full(self.num_lesions, len(scores), dtype=np.int64)
        np.minimum.at(lesion_point, hit_lesion, box_point[hit_box])
        return lesion_point, is_fp

    def curve(
        self,
        lesions: np.ndarray | None = None,
        others: str = 'fp',
        legacy: bool = False,
    ) -> FROCCurve:
        """Return the FROC curve of all lesions or of a subgroup.

        All boxes of all images are used, and all images are in the denominator, also
        for a subgroup of the lesions.

        Args:
            lesions: See :meth:`events`.
            others: See :meth:`events`.
            legacy: Read the curve as in the authors' code; see
                :meth:`FROCCurve.sensitivity_at`.
        """
        lesion_point, is_fp = self.events(lesions, others)
        _, box_point, scores = self.ranking
        num_points = len(scores)
        num_lesions = self.num_lesions if lesions is None else int(np.sum(lesions))
        fp = np.cumsum(np.bincount(box_point[is_fp], minlength=num_points))
        hits = np.cumsum(
            np.bincount(lesion_point[lesion_point < num_points], minlength=num_points)
        )
        sensitivity = hits / num_lesions if num_lesions else np.full(num_points, np.nan)
        return FROCCurve(
            fp / max(self.num_images, 1),
            sensitivity,
            scores,
            self.num_images,
            num_lesions,
            legacy,
        )


def match_boxes(
    pred_boxes: Sequence[npt.ArrayLike],
    pred_scores: Sequence[npt.ArrayLike],
    gt_boxes: Sequence[npt.ArrayLike],
    iou_thr: float = 0.5,
    plus_one: bool = False,
) -> FROCMatches:
    """Find the pairs of boxes and lesions with an IoU of at least ``iou_thr``.

    Args:
        pred_boxes: Boxes of each image, (x1, y1, x2, y2) in pixels.
        pred_scores: Scores of the boxes, higher is more certain.
        gt_boxes: Lesions of each image, (x1, y1, x2, y2) in pixels.
        iou_thr: Minimum IoU of a hit, in (0, 1].
        plus_one: See :func:`box_iou`.

    Shape:
        - pred_boxes[i]: (B_i, 4)
        - pred_scores[i]: (B_i,)
        - gt_boxes[i]: (L_i, 4)

    Raises:
        ValueError: If the lists differ in length, an array in shape, a value is
            NaN or infinite, a lesion's corners are swapped, or ``iou_thr`` is
            out of range.
    """
    if not 0 < iou_thr <= 1:
        raise ValueError(f'iou_thr must be in (0, 1], got {iou_thr!r}.')
    lengths = (len(pred_boxes), len(pred_scores), len(gt_boxes))
    if len(set(lengths)) > 1:
        raise ValueError(
            'pred_boxes, pred_scores and gt_boxes need one entry per image, got '
            '{}, {} and {}.'.format(*lengths)
        )
    boxes, box_image = _concatenate(pred_boxes, 'pred_boxes', 4)
    scores, score_image = _concatenate(pred_scores, 'pred_scores', None)
    lesions, lesion_image = _concatenate(gt_boxes, 'gt_boxes', 4)
    num_images = lengths[0]
    boxes_of = np.bincount(box_image, minlength=num_images)
    scores_of = np.bincount(score_image, minlength=num_images)
    if not np.array_equal(boxes_of, scores_of):
        image = int(np.flatnonzero(boxes_of != scores_of)[0])
        raise ValueError(
            f'Image {image} has {boxes_of[image]} pred_boxes but '
            f'{scores_of[image]} pred_scores.'
        )
    swapped = np.flatnonzero((lesions[:, 2:] < lesions[:, :2]).any(1))
    if len(swapped):
        raise ValueError(
            f'gt_boxes of image {lesion_image[swapped[0]]} must have x1 <= x2 and '
            f'y1 <= y2, got {lesions[swapped[0]].tolist()}.'
        )

    hit_boxes, hit_lesions = _hits(
        boxes, boxes_of, lesions, lesion_image, iou_thr, plus_one
    )
    return FROCMatches(
        num_images, box_image, scores, lesion_image, hit_boxes, hit_lesions
    )


def _hits(
    boxes: np.ndarray,
    boxes_of: np.ndarray,
    lesions: np.ndarray,
    lesion_image: np.ndarray,
    iou_thr: float,
    plus_one: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return box and lesion of each pair with a large IoU, lesion by lesion.

    Args:
        boxes: Boxes of all images, image by image, (B, 4).
        boxes_of: Number of boxes of each image.
        lesions: Lesions of all images, (L, 4).
        lesion_image: Image of each lesion.
        iou_thr: Smallest IoU of a hit.
        plus_one: See :func:`box_iou`.
    """
    first_box = np.cumsum(boxes_of) - boxes_of
    pairs_of = boxes_of[lesion_image]
    pairs_until = np.cumsum(pairs_of)
    hit_boxes, hit_lesions = [], []
    start = 0
    while start < len(lesions):
        done = pairs_until[start] - pairs_of[start]
        stop = int(np.searchsorted(pairs_until, done + PAIRS_AT_ONCE, 'right'))
        stop = max(stop, start + 1)
        count = pairs_of[start:stop]
        lesion = np.repeat(np.arange(start, stop), count)
        offset = np.arange(len(lesion)) - np.repeat(np.cumsum(count) - count, count)
        box = first_box[lesion_image[lesion]] + offset
        hit = box_iou(boxes[box], lesions[lesion], plus_one, True) >= iou_thr
        hit_boxes.append(box[hit])
        hit_lesions.append(lesion[hit])
        start = stop
    nothing = np.zeros(0, dtype=np.int64)
    return (
        np.concatenate([nothing, *hit_boxes]),
        np.concatenate([nothing, *hit_lesions]),
    )


def _concatenate(
    arrays: Sequence[npt.ArrayLike], name: str, columns: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return one float64 array of all images, and the image of each row."""
    checked = []
    for image, array in enumerate(arrays):
        array = np.asarray(array)
        if array.size == 0:
            continue
        if array.ndim != (1 if columns is None else 2) or (
            columns and array.shape[1] != columns
        ):
            wanted = '(B,)' if columns is None else '(B, 4)'
            raise ValueError(
                f'{name} of image {image} must be {wanted}, got shape {array.shape}.'
            )
        checked.append((image, array))
    if not checked:
        shape = 0 if columns is None else (0, columns)
        return np.zeros(shape), np.zeros(0, dtype=np.int64)
    images = np.repeat(
        [image for image, _ in checked], [len(array) for _, array in checked]
    )
    values = np.concatenate([array for _, array in checked]).astype(np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.argwhere(~finite)[0, 0])
        raise ValueError(
            f'{name} of image {images[row]} must be finite, got {values[row].tolist()}.'
        )
    return values, images
