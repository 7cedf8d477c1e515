"""InceptionV3 as a backbone that returns feature maps."""

from typing import Any

from mmpretrain.models.backbones import InceptionV3
from torch import Tensor, nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class InceptionV3Features(InceptionV3):
    """InceptionV3 that returns its last feature map.

    The ``InceptionV3`` of mmpretrain returns class scores and has no feature output.
    Parameter names are unchanged, so the published weights load.

    Args:
        stride: Pixels per cell of the feature map. 32 is the original network. With 16,
            the strides of ``Mixed_7a`` are 1, and the convolutions of the blocks after
            it have dilation 2, so the filters see the same surroundings.
        **kwargs: ``init_cfg`` of the ``InceptionV3`` of mmpretrain.

    Shape:
        - Input: (N, 3, H, W), H and W at least 75.
        - Output: a tuple of one tensor, (N, 2048, h, w). For 299 x 299, h = w = 8; with
          stride 16, h = w = 17.

    Raises:
        ValueError: If the stride is neither 16 nor 32.
    """

    def __init__(self, stride: int = 32, **kwargs: Any) -> None:
        if stride not in (16, 32):
            raise ValueError(f'stride must be 16 or 32, but is {stride}')
        super().__init__(aux_logits=False, **kwargs)
        del self.avgpool, self.dropout, self.fc
        if stride == 16:
            self._remove_last_stride()

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]: no class scores
        self, x: Tensor
    ) -> tuple[Tensor]:
        """Return the last feature map."""
        for layer in self.children():  # in the order of execution
            x = layer(x)
        return (x,)

    def _remove_last_stride(self) -> None:
        block: Any = self.Mixed_7a
        for layer in (block.branch3x3_2.conv, block.branch7x7x3_4.conv):
            layer.stride, layer.padding = (1, 1), (1, 1)
        block.branch_pool = nn.MaxPool2d(3, stride=1, padding=1)
        for layer in (*self.Mixed_7b.modules(), *self.Mixed_7c.modules()):
            if isinstance(layer, nn.Conv2d):
                rows, columns = layer.kernel_size
                layer.dilation, layer.padding = (2, 2), (rows - 1, columns - 1)
