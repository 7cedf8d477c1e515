"""Small 3-D convolutional network for patches of HU values."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class ConvNet3D(BaseModule):
    r"""3-D convolutions with batch normalization on patches in HU.

    The patch is mapped to several HU windows, which are the input channels. The first
    convolution has stride 2 in the plane. A maximum pooling in the plane follows the
    second stage, and a maximum pooling along all axes the third stage. The last stage
    has one convolution.

    Args:
        windows: HU windows (lower, upper), each mapped to -0.5 to 0.5.
        channels: Channels of the four stages.
        init_cfg: Initialization of MMEngine.

    Shape:
        - Input: (B, D, H, W), HU
        - Output: a tuple of one tensor, (B, channels[-1], D // 2, H // 8, W // 8) for
          H and W that are divisible by 8

    Raises:
        ValueError: If there is no window, a window is empty, or there are not four
            numbers of channels.
    """

    def __init__(
        self,
        windows: Sequence[tuple[float, float]] = ((-160, 240), (-1100, 350)),
        channels: Sequence[int] = (16, 32, 48, 96),
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        if not windows or any(low >= high for low, high in windows):
            raise ValueError(
                'ConvNet3D: windows must be pairs (lower, upper) of HU with lower < '
                f'upper, got {windows}'
            )
        if len(channels) != 4:
            raise ValueError(f'ConvNet3D: expected four channels, got {channels}')
        self.windows = [(float(low), float(high)) for low, high in windows]
        first, second, third, fourth = channels

        def conv(before: int, after: int, stride: Any = 1) -> ConvModule:
            return ConvModule(
                before,
                after,
                3,
                stride,
                padding=1,
                conv_cfg=dict(type='Conv3d'),
                norm_cfg=dict(type='BN3d'),
            )

        self.layers = nn.Sequential(
            conv(len(windows), first, (1, 2, 2)),
            conv(first, second),
            nn.MaxPool3d((1, 2, 2)),
            conv(second, third),
            conv(third, third),
            nn.MaxPool3d(2),
            conv(third, fourth),
        )

    def forward(self, patches: Tensor) -> tuple[Tensor]:
        """Return the last feature map."""
        channels = [
            ((patches - low) / (high - low)).clamp(0, 1) - 0.5
            for low, high in self.windows
        ]
        return (self.layers(torch.stack(channels, 1)),)
