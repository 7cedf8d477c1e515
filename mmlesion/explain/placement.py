"""Positions of maps and predicted boxes in the input and in the scan."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from mmlesion.attribution import resize_map
from mmlesion.ct import CTVolume, boxes_in_slice


def map_on_input(
    raw: Tensor, size: Sequence[int], padded_size: Sequence[int] | None = None
) -> Tensor:
    """Resize the raw maps of one sample to the pixels of its input image.

    Args:
        raw: Maps on the grid of a layer. If the layer processes M slices of each sample
            separately, (K, M, h, w), the maps of the middle slice are used.
        size: Rows and columns of the packed image (or depth, rows and
            columns).
        padded_size: Size of the padded network input. The padding is at the bottom
            and on the right. Defaults to ``size``.

    Shape:
        - raw: (K, *grid)
        - output: (K, *size)

    Returns:
        Maps, float32.
    """
    if not len(raw):  # no box above the score threshold
        return raw.new_zeros(0, *size)
    padded_size = padded_size or size
    if raw.dim() - 1 > len(padded_size):
        raw = raw[:, raw.shape[1] // 2]
    maps = resize_map(raw[None], padded_size)[0]
    return maps[(slice(None), *(slice(0, side) for side in size))]


def boxes_on_input(
    data_sample: Any, predicted: Any, indices: Sequence[int]
) -> np.ndarray:
    """Convert predicted boxes to the pixels of the network input.

    Args:
        data_sample: Packed sample.
        predicted: Sample with predictions in the pixels of the original image, or
            of the crop if the slice was cropped.
        indices: Indices of the boxes.

    Shape:
        - output: (K, 4), xyxy

    Returns:
        The boxes.
    """
    boxes = predicted.pred_instances.bboxes
    boxes = getattr(boxes, 'tensor', boxes)
    boxes = boxes[list(indices)].detach().cpu().numpy().astype(float)
    scale = np.tile(np.asarray(data_sample.get('scale_factor') or (1, 1), float), 2)
    return boxes * scale


def map_volume(full: np.ndarray, data_sample: Any) -> CTVolume:
    """Convert a map to a volume at its position in the scan.

    Args:
        full: Map on the pixels of the network input.
        data_sample: Sample with ``crop_offset``, ``ori_shape`` and ``scale_factor`` of
            the image, and with ``scan_geometry`` (a :class:`CTVolume` of the first
            voxel of the whole slice) or ``spacing_mm`` (pixel size in mm). Without
            both, or if a transform cropped the image without recording the position,
            the volume has voxels of 1 mm at the origin.

    Shape:
        - full: (H, W) or (D, H, W)

    Returns:
        Volume with one slice, or with as many slices as the map.
    """
    if full.ndim == 3:
        return CTVolume(full)
    place = data_sample.get('scan_geometry')
    spacing_mm = data_sample.get('spacing_mm')
    scale_x, scale_y = data_sample.get('scale_factor') or (1, 1)
    height, width = data_sample.get('ori_shape') or full.shape
    cut = (
        abs(height * scale_y - full.shape[0]) > 1
        or abs(width * scale_x - full.shape[1]) > 1
    )
    if cut or place is None and spacing_mm is None:
        return CTVolume(full[None])
    if place is None:
        place = CTVolume(np.zeros((1, 1, 1)), (1, spacing_mm, spacing_mm))
    # Center of the first pixel, in pixels of the whole slice.
    first = (0.5 / scale_x - 0.5, 0.5 / scale_y - 0.5)
    x, y = boxes_in_slice(first, data_sample.get('crop_offset'))
    origin_x, origin_y, origin_z = place.index_to_world((0, y, x)).tolist()
    slice_mm, row_mm, column_mm = place.spacing_mm
    return CTVolume(
        full[None],
        (slice_mm, row_mm / scale_y, column_mm / scale_x),
        (origin_x, origin_y, origin_z),
        place.direction,
    )
