"""Small 3-D convolutional network for patches of HU values."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.ct.candidate_patches import PATCH_SHAPE
from mmlesion.registry import MODELS


@MODELS.register_module()
class ConvNet3D(BaseModule):
    r"""3-D convolutions with batch normalization on patches in HU.

    The patch is mapped to several HU windows, which are the input channels. Four stages
    of convolutions reduce the patch by 2 along z and by 8 in the plane. The third stage
    has two convolutions, the others have one. Two convolutions with the size of the
    remaining grid follow, first in the plane and then along z. Unlike a mean over the
    grid, they distinguish the center of the patch from its surroundings.

    Args:
        windows: HU windows (lower, upper), each mapped to -0.5 to 0.5.
        channels: Channels of the four stages.
        patch_shape: Size (D, H, W) of the patches. H and W must be divisible by 8.
        init_cfg: Initialization of MMEngine.

    Shape:
        - Input: (B, D, H, W), HU
        - Output: a tuple of one tensor, (B, channels[-1], 1, 1, 1)

    Raises:
        ValueError: If there is no window, a window is empty, there are not four numbers
            of channels, or the size of the patches does not fit.
    """

    def __init__(
        self,
        windows: Sequence[tuple[float, float]] = ((-160, 240), (-1100, 350)),
        channels: Sequence[int] = (16, 32, 48, 64),
        patch_shape: Sequence[int] = PATCH_SHAPE,
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
        depth, height, width = patch_shape
        if depth < 2 or height % 8 or width % 8 or min(height, width) < 8:
            raise ValueError(
                'ConvNet3D: patch_shape must be (D, H, W) with D of at least 2 and H '
                f'and W divisible by 8, got {tuple(patch_shape)}'
            )
        self.windows = [(float(low), float(high)) for low, high in windows]
        first, second, third, fourth = channels
        self.layers = nn.Sequential(
            _conv(len(windows), first, 3, stride=(1, 2, 2), padding=1),
            _conv(first, second, 3, padding=1),
            nn.MaxPool3d((1, 2, 2)),
            _conv(second, third, 3, padding=1),
            _conv(third, third, 3, padding=1),
            nn.MaxPool3d(2),
            _conv(third, fourth, 3, padding=1),
            _conv(fourth, fourth, (1, height // 8, width // 8)),
            _conv(fourth, fourth, (depth // 2, 1, 1)),
        )

    def forward(self, patches: Tensor) -> tuple[Tensor]:
        """Return the features of the patches."""
        channels = [
            ((patches - low) / (high - low)).clamp(0, 1) - 0.5
            for low, high in self.windows
        ]
        return (self.layers(torch.stack(channels, 1)),)


def _conv(before: int, after: int, kernel: Any, **kwargs: Any) -> ConvModule:
    conv_cfg, norm_cfg = dict(type='Conv3d'), dict(type='BN3d')
    return ConvModule(
        before, after, kernel, conv_cfg=conv_cfg, norm_cfg=norm_cfg, **kwargs
    )
