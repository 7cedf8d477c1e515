"""Conversion from the pixels of a cropped slice to the pixels of the whole slice.

Inside pipelines, models and metrics, a cropped slice is treated as the original image:
``ori_shape``, ground truth and predictions are in its pixels. The sample stores the
position of the crop in ``crop_offset``. The functions of this module add this position
where boxes are output: drawings on the slice, JSON, prediction files, whole scans.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: Keys of an instance that contain x, y, x, y, ... in pixels.
POINT_KEYS = ('bbox', 'recist_px')


def boxes_in_slice(boxes: Any, crop_offset: Sequence[float] | None) -> Any:
    """Return boxes of a cropped slice in the pixels of the whole slice.

    The argument is not modified.

    Args:
        boxes: Boxes (x1, y1, x2, y2) or points (x, y, x, y, ...), as an array, a
            tensor, one of mmdet's box objects, or nested lists.
        crop_offset: Column and row (x0, y0) of the whole slice at which the crop
            begins. None if the slice was not cropped.

    Shape:
        - boxes: (..., 2 n), for boxes (..., 4).
        - output: as ``boxes``.

    Returns:
        A tensor for a tensor or a box object, otherwise a float64 array.
    """
    boxes = getattr(boxes, 'tensor', boxes)  # mmdet's box objects wrap a tensor
    offset = np.zeros(2) if crop_offset is None else np.asarray(crop_offset, float)
    if hasattr(boxes, 'new_tensor'):
        return boxes + boxes.new_tensor(np.tile(offset, boxes.shape[-1] // 2))
    boxes = np.asarray(boxes, dtype=np.float64)
    return boxes + np.tile(offset, boxes.shape[-1] // 2)


def move_instances(instances: Sequence[Mapping], offset: Sequence[float]) -> list[dict]:
    """Return annotated lesions with all their pixel coordinates shifted.

    Args:
        instances: Lesions in the format of mmdet. ``bbox``, ``recist_px`` and the
            polygons of ``mask`` are shifted. All other keys are kept.
        offset: Offset (x, y) in pixels.

    Returns:
        New dictionaries. The arguments are not modified.

    Raises:
        ValueError: If the mask of a lesion is not a list of polygons.
    """
    moved = []
    for instance in instances:
        instance = dict(instance)
        for key in POINT_KEYS:
            if instance.get(key) is not None:
                instance[key] = boxes_in_slice(instance[key], offset).tolist()
        if instance.get('mask') is not None:
            if not isinstance(instance['mask'], (list, tuple)):
                raise ValueError(
                    'the mask of a lesion on a cropped slice must be a list of '
                    f'polygons, but is {type(instance["mask"]).__name__}'
                )
            instance['mask'] = [
                boxes_in_slice(polygon, offset).tolist() for polygon in instance['mask']
            ]
        moved.append(instance)
    return moved


def sample_in_slice(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return a data sample in the pixels of the whole slice.

    Args:
        sample: A data sample as a dictionary, as passed to a metric. Boxes and
            masks of ``pred_instances``, ``gt_instances`` and ``ignored_instances``
            and the lesions of ``instances`` are in the pixels of the cropped slice,
            whose position is ``crop_offset`` in a slice of ``slice_shape`` pixels.

    Returns:
        A new dictionary without ``crop_offset`` and with ``ori_shape`` of the whole
        slice. A sample without a crop is returned unchanged.
    """
    sample = dict(sample)
    offset = sample.pop('crop_offset', None)
    if offset is None:
        return sample
    if sample.get('slice_shape') is not None:
        sample['ori_shape'] = tuple(sample['slice_shape'])
    if sample.get('instances') is not None:
        sample['instances'] = move_instances(sample['instances'], offset)
    for name in ('pred_instances', 'gt_instances', 'ignored_instances'):
        if sample.get(name) is None:
            continue
        found = sample[name] = dict(sample[name])
        if found.get('bboxes') is not None:
            found['bboxes'] = boxes_in_slice(found['bboxes'], offset)
        if hasattr(found.get('masks'), 'shape'):
            found['masks'] = masks_in_slice(found['masks'], offset, sample['ori_shape'])
    return sample


def masks_in_slice(
    masks: Any, crop_offset: Sequence[float], slice_shape: Sequence[int]
) -> Any:
    """Return masks of a cropped slice on the pixels of the whole slice.

    Args:
        masks: Array or tensor of masks.
        crop_offset: Column and row (x0, y0) at which the crop begins.
        slice_shape: Height H and width W of the whole slice.

    Shape:
        - masks: (N, h, w).
        - output: (N, H, W).

    Returns:
        An array or tensor, as the argument, with zeros outside the crop.
    """
    size = (len(masks), *slice_shape)
    if hasattr(masks, 'new_zeros'):
        whole = masks.new_zeros(size)
    else:
        whole = np.zeros(size, masks.dtype)
    x0, y0 = (int(value) for value in crop_offset)
    height, width = masks.shape[1:]
    whole[:, y0 : y0 + height, x0 : x0 + width] = masks
    return whole
