"""Pseudo-3-D context (P3D)."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmlesion.registry import MODELS


@MODELS.register_module()
class Pseudo3DContext(BaseModule):
    """Convolution along z before a 2-D convolution (pseudo-3-D convolution).

    Source: Qiu et al., "Learning Spatio-Temporal Representation with Pseudo-3D Residual
    Networks", ICCV 2017; on CT, Zhang et al., "Revisiting 3D Context Modeling with
    Supervised Pre-training for Universal Lesion Detection in CT Slices", MICCAI 2020
    (MP3D).

    Differs from them in: the kernel starts as the identity, so a network starts as the
    2-D network whose weights it loads. The outermost slices are repeated at the border,
    so a stack of identical slices is not changed.

    Args:
        in_channels: Channels C.
        num_images: Number of slices M of a stack.
        kernel_size: Number of slices in the kernel, odd.
        groups: Groups of channels; ``None`` means C, that is, one kernel per channel.
            1 mixes all channels, as in the papers, at C times the cost.
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input: (N, M, C, H, W).
        - Output: (N, M, C, H, W).

    Raises:
        ValueError: If ``kernel_size`` is even.
    """

    def __init__(
        self,
        in_channels: int,
        num_images: int,
        kernel_size: int = 3,
        groups: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd, but is {kernel_size}')
        self.num_images = num_images
        self.groups = in_channels if groups is None else groups
        weight = torch.zeros(in_channels, in_channels // self.groups, kernel_size)
        channels = torch.arange(in_channels)
        weight[channels, channels % weight.shape[1], kernel_size // 2] = 1
        self.weight = nn.Parameter(weight)  # (C, C / groups, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each stack along z."""
        num_images = x.shape[1]
        reach = self.weight.shape[-1] // 2
        places = torch.arange(num_images, device=x.device)
        out = torch.zeros_like(x)
        for tap, kernel in enumerate(self.weight.to(x.dtype).unbind(-1)):
            # One 2-D operation per kernel element: 3-D convolutions are slower on a
            # CPU.
            source = (places + tap - reach).clamp(0, num_images - 1)
            moved = x.index_select(1, source)  # (N, M, C, H, W)
            if self.groups == x.shape[2]:
                out = out + moved * kernel[:, 0, None, None]
            else:
                convolved = F.conv2d(
                    moved.flatten(0, 1), kernel[..., None, None], groups=self.groups
                )
                out = out + convolved.view_as(x)
        return out
