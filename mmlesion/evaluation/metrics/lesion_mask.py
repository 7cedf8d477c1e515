"""Lesion masks of data samples."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..functional import boxes_to_mask


def lesion_mask(
    sample: Mapping[str, Any],
    map_shape: tuple[int, ...],
    name: str,
    mask_key: str = 'gt_mask',
    form: str = 'circle',
) -> np.ndarray:
    """Return the lesion mask of a data sample on the grid of the network input.

    They are, in this order, a mask (``mask_key``, or ``mask`` as
    ``mmlesion.LoadLIDCSlice`` reads it), ``instances`` of the meta
    information (``bbox`` in pixels of ``ori_shape``, scaled by ``scale_factor`` where
    given, else by ``img_shape`` over ``ori_shape``), or ``gt_instances.bboxes``
    (pixels of the network's input). An instance with ``ignore_flag`` is omitted.

    Args:
        sample: The data sample, as a dict.
        map_shape: Rows and columns, used if the sample does not contain them.
        name: Name of the sample, for error messages.
        mask_key: Key of the mask.
        form: Shape of a lesion inside its box: ``'circle'``, ``'ellipse'`` or
            ``'box'``.

    Shape:
        - output: (H, W), or (H, W, C) for a mask with slices

    Returns:
        Mask that is True on the lesions.

    Raises:
        ValueError: If there is neither a mask nor a box, or the mask is not 2-D or 3-D
            or has a NaN.
    """
    if sample.get(mask_key) is None and sample.get('mask') is not None:
        mask_key = 'mask'
    if sample.get(mask_key) is not None:
        values = as_array(sample[mask_key])
        if values.ndim not in (2, 3):
            raise ValueError(
                f"{name}: '{mask_key}' has shape {values.shape}; expected "
                '(H, W) or (H, W, C).'
            )
        if not np.isfinite(values).all():
            raise ValueError(
                f"{name}: '{mask_key}' has a value that is NaN or infinite."
            )
        return values != 0
    shape = tuple(sample.get('img_shape') or map_shape)[:2]
    if 'instances' in sample:
        boxes = _boxes_of_instances(sample, shape)
    elif 'gt_instances' in sample:
        boxes = sample['gt_instances']['bboxes']
        boxes = as_array(getattr(boxes, 'tensor', boxes))
    else:
        raise ValueError(
            f"{name}: ActivationMapMetric needs the lesions: '{mask_key}' "
            "or 'instances' among the meta_keys of the packing transform, or "
            "'gt_instances'."
        )
    try:
        return boxes_to_mask(boxes, shape, form)
    except ValueError as error:
        raise ValueError(f'{name}: {error}') from None


def _boxes_of_instances(sample: Mapping[str, Any], shape: tuple) -> np.ndarray:
    """Return boxes in pixels of the network input, (N, 4)."""
    boxes = [
        instance['bbox']
        for instance in sample['instances']
        if not instance.get('ignore_flag', 0)
    ]
    boxes = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    scale = sample.get('scale_factor')
    if scale is None:
        height, width = tuple(sample.get('ori_shape') or shape)[:2]
        scale = shape[1] / width, shape[0] / height
    return boxes * np.tile(np.asarray(scale, dtype=np.float64), 2)


def as_array(values: Any) -> np.ndarray:
    """Convert a tensor (also bfloat16) or numbers to an array."""
    if hasattr(values, 'detach'):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
        values = values.numpy()
    return np.asarray(values)
