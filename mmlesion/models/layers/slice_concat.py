"""Fusion of slices by concatenation."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class SliceConcat(BaseModule):
    """Fusion of M images by a 1x1 convolution on their concatenated channels.

    The initial output is the features of the key image, so a pretrained 2-D detector is
    not changed at initialization. The layer has M * C * C weights: use it where C is
    small, for instance after the lateral convolutions of an FPN.

    Args:
        in_channels: Channels C of one image.
        num_images: M. The key image is number (M - 1) / 2.
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input: (N, M, C, H, W); ``mask`` is not used.
        - Output: (N, C, H, W).
    """

    def __init__(
        self, in_channels: int, num_images: int, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.conv = nn.Conv2d(num_images * in_channels, in_channels, 1)
        key = (num_images - 1) // 2 * in_channels
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[:, key : key + in_channels, 0, 0].fill_diagonal_(1)
            assert self.conv.bias is not None
            self.conv.bias.zero_()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Convolve the concatenated images."""
        return self.conv(x.flatten(1, 2))  # (N, C, H, W)
