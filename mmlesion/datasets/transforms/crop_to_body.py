"""Cropping of a slice stack to the body, and the way back."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.ct import BODY_THRESHOLD_HU, body_box
from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CropToBody(BaseTransform):
    """Cut the black border off: crop to the body's box in the key slice.

    Source: Yan et al., 3DCE, ``IMG_DO_CLIP`` of the authors' code: threshold,
    opening, tight box without margin; where nothing is found, the whole image
    stays. Runs before or after :class:`WindowHU`, with equal results (before
    is faster), and before any resizing.

    Boxes, where loaded, move along. Like the authors', they are not clipped:
    a lesion at the skin may reach a few pixels over the new border. One that
    the crop leaves nothing of is marked in ``gt_ignore_flags`` (without
    these: dropped), since no detector could find it.

    Required keys: ``img``, ``key_slice_hu`` (of :class:`LoadSliceStack`),
    ``gt_bboxes`` (optional; ``HorizontalBoxes`` or an array), ``crop_box``
    (optional; the box to crop to instead of the body's, x0, y0, x1, y1 with the
    end exclusive: key slices of a scan that share features share one box).
    Modified keys: ``img``, ``img_shape``, ``gt_bboxes``, ``gt_bboxes_labels``,
    ``gt_ignore_flags``. Added: ``crop_offset``, ``(x0, y0)`` in pixels of the
    original image. Removed: ``key_slice_hu``.

    Args:
        threshold_hu (float): What is above it counts as body.
        kernel_size (int): Side of the opening's square in pixels.
        clip_object_border (bool): Clip boxes to the new border.
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
        """Crop the stack and move the boxes.

        Args:
            results (dict): The sample.

        Shape:
            - img: (H, W, C) to (h, w, C).

        Returns:
            dict: The sample.

        Raises:
            KeyError: If there is no ``key_slice_hu``.
            ValueError: If the stack no longer has the key slice's size.
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
                'CropToBody must run before any resizing: the stack is '
                f'{image.shape[:2]}, the key slice {key_slice_hu.shape}'
            )
        x0, y0, x1, y1 = results.pop('crop_box', None) or body_box(
            key_slice_hu, self.threshold_hu, self.kernel_size
        )
        results['img'] = image[y0:y1, x0:x1]
        results['img_shape'] = (y1 - y0, x1 - x0)
        results['crop_offset'] = (x0, y0)
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
            boxes = corners = boxes - np.asarray([x0, y0, x0, y0], boxes.dtype)
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
            results['gt_bboxes'] = boxes[inside]
            if 'gt_bboxes_labels' in results:
                results['gt_bboxes_labels'] = results['gt_bboxes_labels'][inside]

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(threshold_hu={self.threshold_hu}, '
            f'kernel_size={self.kernel_size}, '
            f'clip_object_border={self.clip_object_border})'
        )


def undo_crop(data_sample: Any) -> Any:
    """Move predicted boxes back to the original image's pixels, in place.

    ``pred_instances.bboxes`` is shifted by the sample's ``crop_offset``, which
    then becomes (0, 0): a second call changes nothing. Boxes must already be
    scaled back (mmdet's ``rescale=True``). Samples without a ``crop_offset``
    or without predictions stay as they are.

    Args:
        data_sample (DetDataSample | dict): A sample, or what a metric gets
            for it.

    Returns:
        DetDataSample | dict: The same object.
    """
    if isinstance(data_sample, dict):
        offset = data_sample.get('crop_offset')
        instances = data_sample.get('pred_instances')
    else:
        offset = data_sample.metainfo.get('crop_offset')
        instances = getattr(data_sample, 'pred_instances', None)
    if offset is None or instances is None:
        return data_sample
    x0, y0 = (float(value) for value in offset)
    if isinstance(instances, dict):
        instances['bboxes'] = _shift(instances['bboxes'], (x0, y0))
    else:
        instances.bboxes = _shift(instances.bboxes, (x0, y0))
    if isinstance(data_sample, dict):
        data_sample['crop_offset'] = (0, 0)
    else:
        data_sample.set_metainfo(dict(crop_offset=(0, 0)))
    return data_sample


def _shift(boxes: Any, offset: tuple[float, float]) -> Any:
    if hasattr(boxes, 'translate_'):
        boxes = boxes.clone()
        boxes.translate_(offset)
        return boxes
    if hasattr(boxes, 'new_tensor'):
        return boxes + boxes.new_tensor([*offset, *offset])
    return boxes + np.asarray([*offset, *offset], np.asarray(boxes).dtype)
