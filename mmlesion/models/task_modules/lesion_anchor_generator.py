import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import Tensor

from mmlesion.registry import TASK_UTILS


@TASK_UTILS.register_module()
class LesionAnchorGenerator(AnchorGenerator):
    """The anchors of 3DCE, to the pixel.

    They follow py-faster-rcnn: for each ratio the sides of the base box are
    rounded to whole pixels *before* they are scaled, and corners are
    inclusive (a box of width w spans x to x + w - 1). MMDetection's generator
    rounds nothing, and its legacy option rounds the corners instead. Use it
    with :class:`PixelDeltaXYWHBBoxCoder`, which counts pixels the same way.

    With base size 8, ratios 0.5, 1, 2 and scales 2, 3, 4, 6, 12 (width x
    height): 22x12 to 132x72, 16x16 to 96x96, 12x24 to 72x144.

    Source: Yan et al., "3D Context Enhanced Region-Based Convolutional Neural
    Network for End-to-End Lesion Detection", MICCAI 2018, Sec. 3, and the
    authors' code.
    """

    def gen_single_level_base_anchors(
        self, base_size, scales, ratios, center=None
    ) -> Tensor:
        """Base anchors of one level, ratio-major as in the authors' code.

        Returns:
            Tensor: (num_ratios * num_scales, 4), inclusive xyxy in pixels
            about the centre of the first cell.
        """
        widths = (base_size**2 / ratios).sqrt().round()
        heights = (widths * ratios).round()
        widths = (widths[:, None] * scales).flatten()
        heights = (heights[:, None] * scales).flatten()
        center_px = (base_size - 1) / 2 if center is None else center
        return torch.stack(
            [
                center_px - (widths - 1) / 2,
                center_px - (heights - 1) / 2,
                center_px + (widths - 1) / 2,
                center_px + (heights - 1) / 2,
            ],
            1,
        )
