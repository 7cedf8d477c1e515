"""Where maps and predicted boxes lie: in the network's picture, in the scan."""

import numpy as np

from mmlesion.attribution import resize_map
from mmlesion.ct import CTVolume, boxes_in_slice


def map_on_input(raw, size, padded_size=None):
    """Raw maps of one sample on the pixels of its picture.

    Args:
        raw (Tensor): Maps on a layer's grid. Of a layer that sees M slices of each
            sample one by one, (K, M, h, w), the middle slice's are taken.
        size (sequence[int]): Rows and columns of the picture (or depth, rows and
            columns), as the pipeline packs it.
        padded_size (sequence[int], optional): Of the network's input, if it is
            larger: padding lies behind the picture.

    Shape:
        - raw: (K, *grid)
        - output: (K, *size)

    Returns:
        Tensor: The maps, float32.
    """
    if not len(raw):  # no box reached the score
        return raw.new_zeros(0, *size)
    padded_size = padded_size or size
    if raw.dim() - 1 > len(padded_size):
        raw = raw[:, raw.shape[1] // 2]
    maps = resize_map(raw[None], padded_size)[0]
    return maps[(slice(None), *(slice(0, side) for side in size))]


def boxes_on_input(data_sample, predicted, indices):
    """Predicted boxes in the pixels of the network's picture.

    Args:
        data_sample (DetDataSample): As the pipeline packed it.
        predicted (DetDataSample): With predictions in the pixels of the original
            picture, for a cropped slice those of the crop.
        indices (sequence[int]): Which of them.

    Shape:
        - output: (K, 4), xyxy

    Returns:
        np.ndarray: The boxes.
    """
    boxes = predicted.pred_instances.bboxes
    boxes = getattr(boxes, 'tensor', boxes)
    boxes = boxes[list(indices)].detach().cpu().numpy().astype(float)
    scale = np.tile(np.asarray(data_sample.get('scale_factor') or (1, 1), float), 2)
    return boxes * scale


def map_volume(full, data_sample):
    """A map as a volume that lies where it belongs.

    Args:
        full (np.ndarray): Map on the pixels of the network's picture.
        data_sample: Knows ``crop_offset``, ``ori_shape`` and ``scale_factor`` of that
            picture and ``scan_geometry``, a :class:`CTVolume` of one voxel, the first
            of the whole slice; or ``spacing_mm``, its pixels in mm. With neither, or
            where a transform cut the picture without saying where, the volume has
            voxels of 1 mm and no place.

    Shape:
        - full: (H, W) or (D, H, W)

    Returns:
        CTVolume: Of one slice, or as many as the map has.
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
    slice_mm, row_mm, column_mm = place.spacing_mm
    return CTVolume(
        full[None],
        (slice_mm, row_mm / scale_y, column_mm / scale_x),
        place.index_to_world((0, y, x)),
        place.direction,
    )
