"""Pseudo-masks from RECIST diameters."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.ct import window_hu
from mmlesion.registry import TRANSFORMS

ELLIPSE, GRABCUT = 'ellipse', 'grabcut'


@TRANSFORMS.register_module()
class RECISTToMask(BaseTransform):
    """Add pseudo-masks from the two diameters of each lesion, for mask heads.

    The outline consists of four quarter ellipses through the four ends of the
    diameters, centered at their crossing. For a lesion without diameters, the outline
    is the ellipse inscribed in its box. Use this transform before
    ``LoadAnnotations(with_mask=True)``.

    With ``refine='grabcut'``, OpenCV's GrabCut moves the outline to the edges of the
    image: the inner half of the ellipse belongs to the lesion, everything beyond one
    and a half times the ellipse does not, and the intensities decide between. If the
    result overlaps the ellipse by an IoU below ``min_iou``, the ellipse is kept: a
    lesion without an edge would leak into its surroundings.

    Source: Tang et al., "ULDor: A Universal Lesion Detector for CT Scans with Pseudo
    Masks and Hard Negative Example Mining", ISBI 2019, Sec. 2.1 (one ellipse there);
    Cai et al., "Accurate Weakly-Supervised Deep Lesion Segmentation Using Large-Scale
    Clinical Annotations", MICCAI 2018 (GrabCut from the diameters; the regions of the
    initial labels are ours).

    Required key: ``instances``, each with ``bbox`` and ``recist_px`` (optional): x and
    y of both ends of the long diameter, then of the short diameter; pixel n covers n to
    n + 1. For GrabCut also
    ``key_slice_hu`` (H, W) of :class:`LoadSliceStack`, before any cropping.
    Modified key: ``instances``, each with ``mask``, a list of one polygon as in COCO.

    Args:
        num_points: Number of points of an outline, a multiple of 4.
        refine: ``'ellipse'``, or ``'grabcut'`` for outlines along edges.
        iterations: Iterations of GrabCut.
        min_iou: Smallest IoU of GrabCut's mask and the ellipse.

    Raises:
        ValueError: If ``num_points`` is not a positive multiple of 4, ``refine`` is
            unknown, or GrabCut is requested after a crop.
    """

    def __init__(
        self,
        num_points: int = 64,
        refine: str = ELLIPSE,
        iterations: int = 5,
        min_iou: float = 0.5,
    ) -> None:
        if refine not in (ELLIPSE, GRABCUT):
            raise ValueError(
                f'RECISTToMask: refine must be {ELLIPSE!r} or {GRABCUT!r}, but is '
                f'{refine!r}'
            )
        if num_points < 4 or num_points % 4:
            raise ValueError(
                'RECISTToMask: num_points must be a positive multiple of 4, but is '
                f'{num_points}'
            )
        self.num_points = num_points
        self.refine = refine
        self.iterations = iterations
        self.min_iou = min_iou

    def transform(self, results: dict) -> dict:
        """Add a polygon to each lesion.

        Args:
            results: The sample.

        Returns:
            The sample; its list of instances is new.
        """
        if self.refine == GRABCUT and 'crop_offset' in results:
            raise ValueError(
                "RECISTToMask with refine='grabcut' must precede CropToBody"
            )
        results['instances'] = [
            dict(instance, mask=self._mask(instance, results))
            for instance in results['instances']
        ]
        return results

    def _mask(self, instance: dict, results: dict) -> list[list[float]]:
        """Return the mask of a lesion as one polygon."""
        outline = self._outline(instance)
        if self.refine == GRABCUT:
            mask = grab_cut(
                results['key_slice_hu'], outline, self.iterations, self.min_iou
            )
            if mask is not None:
                outline = _polygon(mask)
        return [outline.ravel().tolist()]

    def _outline(self, instance: dict) -> np.ndarray:
        """Return the outline of a lesion, (num_points, 2), x and y in pixels."""
        ends = instance.get('recist_px')
        if ends is None:
            x1, y1, x2, y2 = instance['bbox']
            x, y = (x1 + x2) / 2, (y1 + y2) / 2
            ends = (x1, y, x2, y, x, y1, x, y2)
        ends = np.asarray(ends, float).reshape(4, 2)
        center = _crossing(ends)
        long_1, long_2, short_1, short_2 = ends - center
        angle = np.arange(self.num_points) * (2 * np.pi / self.num_points)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        along = np.where(cos >= 0, cos * long_1, -cos * long_2)
        across = np.where(sin >= 0, sin * short_1, -sin * short_2)
        return center + along + across

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(num_points={self.num_points}, '
            f'refine={self.refine!r})'
        )


def grab_cut(
    slice_hu: np.ndarray, outline: np.ndarray, iterations: int = 5, min_iou: float = 0.5
) -> np.ndarray | None:
    """Segment a lesion by GrabCut from a rough outline.

    Args:
        slice_hu: The slice in HU.
        outline: Outline of the lesion, x and y in pixels; pixel n covers n to n + 1.
        iterations: Iterations of GrabCut.
        min_iou: Smallest IoU of the result and the filled outline.

    Shape:
        - slice_hu, output: (H, W)
        - outline: (P, 2)

    Returns:
        Mask of 0 and 1, or None if GrabCut finds nothing or leaves the outline.
    """
    height, width = slice_hu.shape
    center = outline.mean(0)
    reach = 2 * np.abs(outline - center).max(0) + 4
    x0, y0 = np.floor(np.maximum(center - reach, 0)).astype(int)
    x1, y1 = np.ceil(np.minimum(center + reach + 1, (width, height))).astype(int)
    if x1 - x0 < 3 or y1 - y0 < 3:
        return None
    patch = slice_hu[y0:y1, x0:x1].astype(np.float32)

    def filled(scale: float) -> np.ndarray:
        # OpenCV takes integers as pixel centers
        points = center + scale * (outline - center) - (x0 + 0.5, y0 + 0.5)
        mask = np.zeros(patch.shape, np.uint8)
        cv2.fillPoly(mask, [np.round(16 * points).astype(np.int32)], 1, shift=4)
        return mask > 0

    rough = filled(1)
    labels = np.full(patch.shape, cv2.GC_BGD, np.uint8)
    labels[filled(1.5)] = cv2.GC_PR_BGD
    labels[rough] = cv2.GC_PR_FGD
    labels[filled(0.5)] = cv2.GC_FGD
    if not (labels == cv2.GC_FGD).any() or not (labels == cv2.GC_BGD).any():
        return None
    low, high = np.percentile(patch[filled(1.5)], (1, 99))
    gray = window_hu(patch, (float(low), float(max(high, low + 1))))
    cv2.setRNGSeed(0)  # GrabCut starts from k-means
    cv2.grabCut(
        cv2.cvtColor(np.round(gray).astype(np.uint8), cv2.COLOR_GRAY2BGR),
        labels,
        (0, 0, 1, 1),  # not used with a mask
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        iterations,
        cv2.GC_INIT_WITH_MASK,
    )
    found = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    if (found & rough).sum() < min_iou * (found | rough).sum():
        return None
    mask = np.zeros((height, width), np.uint8)
    mask[y0:y1, x0:x1] = found
    return mask


def _polygon(mask: np.ndarray) -> np.ndarray:
    """Return a polygon that pycocotools fills with the largest piece of a mask.

    pycocotools takes pixel n as the range n to n + 1. The outline of the enlarged mask
    is inside the outer pixels and includes their centers.
    """
    large = cv2.resize(mask, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return (max(outlines, key=cv2.contourArea)[:, 0] + 0.5) / 3


def _crossing(ends: np.ndarray) -> np.ndarray:
    """Return the crossing of two diameters, or the mean of their ends without crossing.

    Args:
        ends: (4, 2), both ends of the first diameter, then of the second.
    """
    first, second = ends[1] - ends[0], ends[3] - ends[2]
    determinant = first[0] * second[1] - first[1] * second[0]
    if abs(determinant) > 1e-6:
        offset = ends[2] - ends[0]
        part = (offset[0] * second[1] - offset[1] * second[0]) / determinant
        if 0 <= part <= 1:
            return ends[0] + part * first
    return ends.mean(0)
