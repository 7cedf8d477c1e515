"""Resizing of a slice stack to a common pixel size."""

import math

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ResizeToSpacing(BaseTransform):
    r"""Resize to a pixel size in mm, limited by the longest side.

    .. math::
        s = \min\!\left(\frac{\mathrm{spacing}}{\mathrm{target}},
            \frac{\mathrm{max\_size}}{\max(h, w)}\right)

    for an image of :math:`h \times w` pixels. The resizing is bilinear, as
    ``cv2.resize(fx=s, fy=s)`` in the authors' code: the sampling uses s itself, not the
    rounded size. Source: Yan et al., 3DCE, Sec. 3 and ``load_prep_img`` of the authors'
    code (0.8 mm, 512 px).

    The scale is multiplied into an existing ``scale_factor`` and, as in mmdet's own
    transforms, into ``homography_matrix``. A ``Resize`` of mmdet after this
    transform overwrites ``scale_factor``. :class:`PackCTInputs` restores the product
    from the matrix. For test-time augmentation at several scales, use several
    ``ResizeToSpacing``.

    Required keys: ``img``, ``spacing_mm`` (pixel size of the original image),
    ``body_shape`` (optional; the size that ``max_size`` limits, by default the size of
    ``img``), ``gt_bboxes`` (optional; ``HorizontalBoxes`` or an array), ``gt_masks``
    (optional).
    Modified keys: ``img`` (float32), ``img_shape``, ``gt_bboxes``, ``gt_masks``,
    ``scale_factor`` (w, h), ``homography_matrix``. Added key: ``keep_ratio``.

    Args:
        spacing_mm: Target pixel size in mm.
        max_size: Longest side in pixels.

    Raises:
        ValueError: If an argument is not positive.
    """

    def __init__(self, spacing_mm: float = 0.8, max_size: int = 512) -> None:
        if not spacing_mm > 0 or max_size < 1:
            raise ValueError(
                'ResizeToSpacing needs a positive spacing_mm and max_size, '
                f'but got {spacing_mm} and {max_size}'
            )
        self.spacing_mm = spacing_mm
        self.max_size = max_size

    def transform(self, results: dict) -> dict:
        """Resize the stack and scale the boxes.

        Args:
            results: The sample.

        Shape:
            - img: (H, W, C) to (h, w, C). Channels are contiguous in memory.

        Returns:
            The sample.

        Raises:
            KeyError: If the sample has no ``spacing_mm``.
            ValueError: If ``spacing_mm`` is not a positive number.
        """
        if 'spacing_mm' not in results:
            raise KeyError(
                "ResizeToSpacing needs the pixel size 'spacing_mm' in the sample"
            )
        spacing_mm = float(results['spacing_mm'])
        if not (math.isfinite(spacing_mm) and spacing_mm > 0):
            raise ValueError(
                f'{results.get("img_path", "sample")}: the pixel size must be '
                f'a positive number of mm, but is {spacing_mm}'
            )
        image = results['img']
        before = results.get('scale_factor', (1.0, 1.0))
        scale = spacing_mm / self.spacing_mm
        longest = max(results.get('body_shape', image.shape[:2])) * scale
        if 'scale_factor' in results:  # already resized: use the current size
            longest = max(image.shape[:2]) * scale
        if longest > self.max_size:
            scale *= self.max_size / longest
        if scale != 1:
            image = self._resize(image, scale)
        results['img'] = image
        results['img_shape'] = image.shape[:2]
        results['scale_factor'] = (before[0] * scale, before[1] * scale)
        results['homography_matrix'] = np.diag([scale, scale, 1.0]) @ results.get(
            'homography_matrix', np.eye(3)
        )
        results['keep_ratio'] = True
        boxes = results.get('gt_bboxes')
        if boxes is not None:
            if hasattr(boxes, 'rescale_'):
                boxes = boxes.clone()
                boxes.rescale_((scale, scale))
                results['gt_bboxes'] = boxes
            else:
                results['gt_bboxes'] = boxes * np.asarray(scale, boxes.dtype)
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].resize(results['img_shape'])
        return results

    @staticmethod
    def _resize(image: np.ndarray, scale: float) -> np.ndarray:
        # Resize one channel at a time: no interleaving, and a channel fits into the
        # cache.
        planes = np.atleast_3d(image).transpose(2, 0, 1)  # (C, H, W)
        first = cv2.resize(
            np.asarray(planes[0], np.float32),
            None,
            fx=scale,
            fy=scale,
            interpolation=cv2.INTER_LINEAR,
        )
        resized = np.empty((len(planes), *first.shape), np.float32)
        resized[0] = first
        for plane, out in zip(planes[1:], resized[1:]):
            cv2.resize(
                np.asarray(plane, np.float32),
                None,
                dst=out,
                fx=scale,
                fy=scale,
                interpolation=cv2.INTER_LINEAR,
            )
        return resized.transpose(1, 2, 0)  # (h, w, C)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(spacing_mm={self.spacing_mm}, '
            f'max_size={self.max_size})'
        )
