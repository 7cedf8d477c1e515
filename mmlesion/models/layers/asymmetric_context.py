"""Asymmetric 3-D context (A3D)."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmlesion.registry import MODELS


@MODELS.register_module()
class AsymmetricContext(BaseModule):
    r"""Linear mixing of the slices with separate weights for each output slice (A3D).

    For each channel c,

    .. math:: \tilde X_{l, c} = \sum_{m=1}^{M} P_{m, l, c} X_{m, c}

    A 3-D convolution shares its weights among all slices. Here, the key slice may mix
    its neighbors with other weights than the neighbors do.

    Source: Yang et al., "Asymmetric 3D Context Fusion for Universal Lesion Detection",
    MICCAI 2021 (A3D); authors' code ``M3DV/AlignShift``, ``a3dconv.py``.

    Differs from it in: P starts as the identity. The authors add noise from U(-0.1,
    0.1) to the identity. A network therefore starts as the 2-D network whose weights it
    loads.

    Args:
        in_channels: Channels C.
        num_images: Number of slices M of a stack.
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input: (N, M, C, H, W).
        - Output: (N, M, C, H, W).
    """

    def __init__(
        self, in_channels: int, num_images: int, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_images = num_images
        self.mix = nn.Parameter(
            torch.eye(num_images)[:, :, None].repeat(1, 1, in_channels)
        )  # (M, M, C): source slice, output slice, channel

    def forward(self, x: Tensor) -> Tensor:
        """Mix the slices of each stack."""
        if torch.is_grad_enabled() and (x.requires_grad or self.mix.requires_grad):
            return self._mix_by_convolution(x)
        return self._mix_by_products(x)

    def _mix_by_convolution(self, x: Tensor) -> Tensor:
        """Mix by a 1x1 convolution with a group of M channels for each channel.

        The backward pass is faster than that of the products.
        """
        num, images, channels, height, width = x.shape
        stack = x.transpose(1, 2).reshape(num, channels * images, height, width)
        kernel = self.mix.permute(2, 1, 0).reshape(-1, images, 1, 1)  # (C*M, M, 1, 1)
        mixed = F.conv2d(stack, kernel.to(x.dtype), groups=channels)
        return mixed.view(num, channels, images, height, width).transpose(1, 2)

    def _mix_by_products(self, x: Tensor) -> Tensor:
        """Mix by products with the channels innermost.

        This is the memory format of the convolutions around, so nothing is copied.
        """
        x = x.permute(0, 1, 3, 4, 2)  # (N, M, H, W, C)
        weights = self.mix.to(x.dtype)[:, :, None, None]  # (M, M, 1, 1, C)
        mixed = x[:, :1] * weights[0]
        for source in range(1, self.num_images):
            mixed.addcmul_(x[:, source : source + 1], weights[source])
        return mixed.permute(0, 1, 4, 2, 3)
