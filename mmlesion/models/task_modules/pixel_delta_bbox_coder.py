"""Delta box coder for boxes with inclusive corners."""

from collections.abc import Sequence
from typing import cast

from mmdet.models.task_modules.coders import LegacyDeltaXYWHBBoxCoder
from mmdet.structures.bbox import BaseBoxes
from torch import Tensor

from mmlesion.registry import TASK_UTILS


@TASK_UTILS.register_module()
class PixelDeltaXYWHBBoxCoder(LegacyDeltaXYWHBBoxCoder):
    """Encode and decode boxes with inclusive corners (a side is x2 - x1 + 1).

    ``LegacyDeltaXYWHBBoxCoder`` of mmdet encodes boxes in this way but decodes them
    without the half-pixel correction: its boxes are half a pixel larger on each side
    than the encoded boxes. The code of 3DCE (``bbox_pred`` of py-faster-rcnn)
    decodes with the correction, and so does this class.

    Args:
        target_means: Means of the coded deltas.
        target_stds: Standard deviations of the coded deltas.
    """

    def decode(  # pyright: ignore[reportIncompatibleMethodOverride]: one size for all boxes
        self,
        bboxes: Tensor | BaseBoxes,
        pred_bboxes: Tensor,
        max_shape: Sequence[int] | None = None,
        wh_ratio_clip: float = 16 / 1000,
    ) -> Tensor:
        """Decode predicted deltas to boxes.

        Args:
            bboxes: Basic boxes, (N, 4).
            pred_bboxes: Deltas of each class, (N, 4 C).
            max_shape: Height and width of the image. Corners are clipped to its
                pixels.
            wh_ratio_clip: Largest allowed ratio of the sides.

        Returns:
            Boxes, (N, 4 C).
        """
        boxes = cast(Tensor, super().decode(bboxes, pred_bboxes, None, wh_ratio_clip))
        shrink = boxes.new_tensor([0.5, 0.5, -0.5, -0.5])
        boxes = boxes.unflatten(-1, (-1, 4)) + shrink  # (N, C, 4)
        if max_shape is not None:
            height, width = max_shape[:2]
            limit = boxes.new_tensor([width, height, width, height]) - 1
            boxes = boxes.clamp(min=0).minimum(limit)
        return boxes.flatten(-2)
