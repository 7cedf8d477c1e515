"""Cropping of a slice stack to the body."""

import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.ct import BODY_THRESHOLD_HU, body_box, boxes_in_slice, move_instances
from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CropToBody(BaseTransform):
    """Crop a slice stack to the bounding box of the body in the key slice.

    Source: Yan et al., 3DCE, ``IMG_DO_CLIP`` of the authors' code: threshold,
    opening, tight box without margin. If no body is found, the slice is not cropped.
    The transform runs before or after :class:`WindowHU`, with the same result (before
    is faster), and before any other change of the geometry.

    After this transform, the cropped slice is the original image of the sample:
    ``ori_shape``, ``instances``, ``gt_bboxes`` and the predictions are in its pixels.
    ``crop_offset`` is its position in the slice. :func:`mmlesion.ct.boxes_in_slice`
    adds this position to predicted boxes.

    As in the authors' code, boxes are not clipped: the box of a lesion near the skin
    can extend a few pixels beyond the new border. A box that is completely outside the
    crop cannot be detected. It is marked in ``gt_ignore_flags``, or removed if there
    are no such flags. ``instances`` keeps the lesion, so that metrics count it as
    missed. Required keys: ``img``, ``key_slice_hu`` (from :class:`LoadSliceStack`),
    ``instances`` (optional), ``gt_bboxes`` (optional; ``HorizontalBoxes`` or an
    array), ``gt_masks`` (optional), ``keep_origin`` (optional), ``crop_box``
    (optional; a box to crop to instead of the box of the body: x0, y0, x1, y1, end
    exclusive. Key slices of a scan that share features have the same box).
    Modified keys: ``img``, ``img_shape``, ``ori_shape``, ``height``, ``width``,
    ``instances``, ``gt_bboxes``, ``gt_bboxes_labels``, ``gt_ignore_flags``,
    ``gt_masks``. Added keys: ``crop_offset``, column and row ``(x0, y0)``;
    ``slice_shape``, height and width of the whole slice; ``body_shape``, height and
    width of the box of the body. Removed key: ``key_slice_hu``.

    With ``keep_origin`` (set by :class:`LoadSliceStack` for files outside of a data
    set) the slice keeps its size, pixels outside of the box of the body get the
    smallest value of the stack (air), and ``crop_offset`` is (0, 0). Stock inference
    tools return boxes and masks without their metadata, and these must be in the pixels
    of the file.

    Args:
        threshold_hu: HU values above this threshold count as body.
        kernel_size: Side of the square of the morphological opening, in pixels.
        clip_object_border: Whether loaded boxes are clipped to the new border.

    Raises:
        ValueError: If ``kernel_size`` is not positive.
    """

    def __init__(
        self,
        threshold_hu: float = BODY_THRESHOLD_HU,
        kernel_size: int = 7,
        clip_object_border: bool = False,
    ) -> None:
        if kernel_size < 1:
            raise ValueError(f'kernel_size must be positive, but is {kernel_size}')
        self.threshold_hu = threshold_hu
        self.kernel_size = kernel_size
        self.clip_object_border = clip_object_border

    def transform(self, results: dict) -> dict:
        """Crop the stack and shift the boxes.

        Args:
            results: The sample.

        Shape:
            - img: (H, W, C) to (h, w, C).

        Returns:
            The sample.

        Raises:
            KeyError: If the sample has no ``key_slice_hu``.
            ValueError: If the slice was resized or flipped before.
        """
        if 'key_slice_hu' not in results:
            raise KeyError(
                'CropToBody needs the key slice in HU '
                "('key_slice_hu'), which LoadSliceStack provides"
            )
        key_slice_hu = results.pop('key_slice_hu')
        image = results['img']
        if image.shape[:2] != key_slice_hu.shape:
            raise ValueError(
                'CropToBody must run before any resizing: the stack has shape '
                f'{image.shape[:2]}, the key slice {key_slice_hu.shape}'
            )
        if results.get('flip') or 'scale_factor' in results:
            raise ValueError(
                'CropToBody must run before any flip or resizing: place it after '
                'LoadSliceStack in the pipeline'
            )
        x0, y0, x1, y1 = results.pop('crop_box', None) or body_box(
            key_slice_hu, self.threshold_hu, self.kernel_size
        )
        body_shape = (y1 - y0, x1 - x0)
        if results.get('keep_origin'):
            inside = image[y0:y1, x0:x1]
            image = np.full_like(image, image.min())
            image[y0:y1, x0:x1] = inside
            x0, y0, x1, y1 = 0, 0, image.shape[1], image.shape[0]
        shape = (y1 - y0, x1 - x0)
        results['img'] = image[y0:y1, x0:x1]
        results['img_shape'] = results['ori_shape'] = shape
        results['height'], results['width'] = shape
        results['crop_offset'] = (x0, y0)
        results['slice_shape'] = key_slice_hu.shape
        results['body_shape'] = body_shape
        if results.get('instances') is not None:
            results['instances'] = move_instances(results['instances'], (-x0, -y0))
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].crop(np.array([x0, y0, x1, y1]))
        if results.get('gt_bboxes') is not None:
            self._move_boxes(results)
        return results

    def _move_boxes(self, results: dict) -> None:
        boxes = results['gt_bboxes']
        x0, y0 = results['crop_offset']
        height, width = results['img_shape']
        if hasattr(boxes, 'translate_'):
            boxes = boxes.clone()
            boxes.translate_((-x0, -y0))
            corners = boxes.tensor.numpy()
        else:
            boxes = corners = boxes_in_slice(boxes, (-x0, -y0)).astype(boxes.dtype)
        inside = (
            (corners[:, 0] < width)
            & (corners[:, 1] < height)
            & (corners[:, 2] > 0)
            & (corners[:, 3] > 0)
        )
        if self.clip_object_border:
            corners[:, 0::2] = corners[:, 0::2].clip(0, width)
            corners[:, 1::2] = corners[:, 1::2].clip(0, height)
        results['gt_bboxes'] = boxes
        if inside.all():
            return
        if 'gt_ignore_flags' in results:
            flags = np.asarray(results['gt_ignore_flags'])
            results['gt_ignore_flags'] = flags | ~inside
        else:
            for name in ('gt_bboxes', 'gt_bboxes_labels', 'gt_masks'):
                if results.get(name) is not None:
                    results[name] = results[name][inside]

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(threshold_hu={self.threshold_hu}, '
            f'kernel_size={self.kernel_size}, '
            f'clip_object_border={self.clip_object_border})'
        )
