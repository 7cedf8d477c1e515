"""Where maps and predicted boxes lie: in the network's picture, in the scan."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from mmlesion.attribution import resize_map
from mmlesion.ct import CTVolume, boxes_in_slice


def map_on_input(
    raw: Tensor, size: Sequence[int], padded_size: Sequence[int] | None = None
) -> Tensor:
    """Raw maps of one sample on the pixels of its picture.

    Args:
        raw: Maps on a layer's grid. Of a layer that sees M slices of each
            sample one by one, (K, M, h, w), the middle slice's are taken.
        size: Rows and columns of the picture (or depth, rows and
            columns), as the pipeline packs it.
        padded_size: Of the network's input, if it is
            larger: padding lies behind the picture.

    Shape:
        - raw: (K, *grid)
        - output: (K, *size)

    Returns:
        The maps, float32.
    """
    if not len(raw):  # no box reached the score
        return raw.new_zeros(0, *size)
    padded_size = padded_size or size
    if raw.dim() - 1 > len(padded_size):
        raw = raw[:, raw.shape[1] // 2]
    maps = resize_map(raw[None], padded_size)[0]
    return maps[(slice(None), *(slice(0, side) for side in size))]


def boxes_on_input(
    data_sample: Any, predicted: Any, indices: Sequence[int]
) -> np.ndarray:
    """Predicted boxes in the pixels of the network's picture.

    Args:
        data_sample: As the pipeline packed it.
        predicted: With predictions in the pixels of the original
            picture, for a cropped slice those of the crop.
        indices: Which of them.

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
    """A map as a volume that lies where it belongs.

    Args:
        full: Map on the pixels of the network's picture.
        data_sample: Knows ``crop_offset``, ``ori_shape`` and ``scale_factor`` of that
            picture and ``scan_geometry``, a :class:`CTVolume` of one voxel, the first
            of the whole slice; or ``spacing_mm``, its pixels in mm. With neither, or
            where a transform cut the picture without saying where, the volume has
            voxels of 1 mm and no place.

    Shape:
        - full: (H, W) or (D, H, W)

    Returns:
        Of one slice, or as many as the map has.
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
    # The middle of the first pixel, in pixels of the whole slice.
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
