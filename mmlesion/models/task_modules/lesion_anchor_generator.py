"""Anchors of 3DCE."""

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import Tensor

from mmlesion.registry import TASK_UTILS


@TASK_UTILS.register_module()
class LesionAnchorGenerator(AnchorGenerator):
    """Anchor generator that reproduces the anchors of 3DCE exactly.

    As in py-faster-rcnn, the sides of the base box are rounded to whole pixels for
    each ratio *before* they are scaled. The generator of mmdet does not round, and its
    legacy option rounds the corners instead. The authors' corners are the first and
    the last pixel of a box; here they are its outer edges, as everywhere in mmdet.

    Base size 8, ratios 0.5, 1, 2 and scales 2, 3, 4, 6, 12 give boxes (width x
    height) of 22x12 to 132x72, 16x16 to 96x96, and 12x24 to 72x144.

    Source: Yan et al., "3D Context Enhanced Region-Based Convolutional Neural
    Network for End-to-End Lesion Detection", MICCAI 2018, Sec. 3, and the
    authors' code.
    """

    def gen_single_level_base_anchors(  # pyright: ignore[reportIncompatibleMethodOverride]: square cells have one center
        self,
        base_size: int | float,
        scales: Tensor,
        ratios: Tensor,
        center: float | None = None,
    ) -> Tensor:
        """Compute the base anchors of one level.

        Args:
            base_size: Side of the base box in pixels.
            scales: Factors of the sides.
            ratios: Height divided by width.
            center: Center of the boxes in pixels. Defaults to the center of the first
                cell.

        Returns:
            (num_ratios * num_scales, 4), xyxy in pixels, ratio-major as in the authors'
            code.
        """
        widths = (base_size**2 / ratios).sqrt().round()
        heights = (widths * ratios).round()
        widths = (widths[:, None] * scales).flatten()
        heights = (heights[:, None] * scales).flatten()
        center_px = base_size / 2 if center is None else center
        return torch.stack(
            [
                center_px - widths / 2,
                center_px - heights / 2,
                center_px + widths / 2,
                center_px + heights / 2,
            ],
            1,
        )
