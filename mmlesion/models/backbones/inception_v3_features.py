"""InceptionV3 as a backbone that returns feature maps."""

from typing import Any

from mmpretrain.models.backbones import InceptionV3
from torch import Tensor

from mmlesion.registry import MODELS


@MODELS.register_module()
class InceptionV3Features(InceptionV3):
    """InceptionV3 that returns its last feature map.

    The ``InceptionV3`` of mmpretrain returns class scores and has no feature output.
    Parameter names are unchanged, so the published weights load.

    Args:
        **kwargs: ``init_cfg`` of the ``InceptionV3`` of mmpretrain.

    Shape:
        - Input: (N, 3, H, W), H and W at least 75.
        - Output: a tuple of one tensor, (N, 2048, h, w); h = w = 8 for 299 x 299.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(aux_logits=False, **kwargs)
        del self.avgpool, self.dropout, self.fc

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]: no class scores
        self, x: Tensor
    ) -> tuple[Tensor]:
        """Return the last feature map."""
        for layer in self.children():  # in the order of execution
            x = layer(x)
        return (x,)
