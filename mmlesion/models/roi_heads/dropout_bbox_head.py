"""Fully connected box head with dropout."""

from typing import Any

from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from torch import nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class DropoutBBoxHead(Shared2FCBBoxHead):
    """Box head with two fully connected layers, each followed by ReLU and dropout.

    Source: Girshick, "Fast R-CNN", ICCV 2015 (the VGG16 head). The Faster R-CNN in the
    3DCE code uses this head with 2048 channels and a dropout of 0.5.

    Args:
        *args: As ``Shared2FCBBoxHead``.
        dropout: Probability that a channel is set to zero in training.
        **kwargs: As ``Shared2FCBBoxHead``.

    Shape:
        - Input: (R, C, k, k).
        - Output: class scores (R, num_classes + 1) and box deltas.
    """

    def __init__(self, *args: Any, dropout: float = 0.5, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.relu = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(dropout))
