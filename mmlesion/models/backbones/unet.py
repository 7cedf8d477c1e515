"""U-Net backbone."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS

BN = dict(type='BN')


@MODELS.register_module()
class UNet(BaseModule):
    """U-Net with three levels that returns full-size features and a deep code.

    Source: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical
    Image Segmentation", MICCAI 2015. Differs from it in: three levels instead of
    four, as in Lei et al., arXiv 1810.12494, Fig. 2; padded convolutions; batch
    normalization; no output convolution, which is part of the heads.

    Args:
        in_channels: Channels of the input.
        code_channels: Channels of the code. The levels above have 1/2, 1/4 and 1/8 of
            this number.
        init_cfg: Initialization, Kaiming by default.

    Shape:
        - Input: (N, in_channels, H, W), H and W divisible by 8.
        - Output: a tuple of the features (N, code_channels/8, H, W) and the code
          (N, code_channels, H/8, W/8), the output of the third encoder block.

    Raises:
        ValueError: If the sides of the input are not divisible by 8, or its number
            of channels is not ``in_channels``.
    """

    def __init__(
        self,
        in_channels: int = 11,
        code_channels: int = 256,
        init_cfg: dict | Sequence[dict] | None = (
            dict(type='Kaiming', layer=['Conv2d', 'ConvTranspose2d']),
            dict(type='Constant', layer='BatchNorm2d', val=1),
        ),
    ) -> None:
        if init_cfg is not None and not isinstance(init_cfg, dict):
            init_cfg = list(init_cfg)
        super().__init__(init_cfg)
        if code_channels % 8 or code_channels <= 0:
            raise ValueError(
                f'{type(self).__name__}: code_channels must be a positive '
                f'multiple of 8, got {code_channels}.'
            )
        self.in_channels = in_channels
        widths = [
            code_channels // 8,
            code_channels // 4,
            code_channels // 2,
            code_channels,
        ]
        self.stem = _double_conv(in_channels, widths[0])
        self.downs = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), _double_conv(few, many))
            for few, many in zip(widths[:-1], widths[1:])
        )
        self.ups = nn.ModuleList(
            nn.ModuleDict(
                dict(
                    up=nn.ConvTranspose2d(many, few, 2, stride=2),
                    conv=_double_conv(2 * few, few),
                )
            )
            for few, many in zip(widths[-2::-1], widths[:0:-1])
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the full-size features and the code."""
        if x.shape[1] != self.in_channels:
            raise ValueError(
                f'{type(self).__name__}: expected an input with {self.in_channels} '
                f'channels, got {x.shape[1]}; set in_channels to that of the data.'
            )
        if x.shape[-2] % 8 or x.shape[-1] % 8:
            raise ValueError(
                f'{type(self).__name__}: the sides of the input must be divisible '
                f'by 8, got {x.shape[-2]} x {x.shape[-1]}.'
            )
        x = self.stem(x)
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        code = x  # (N, code_channels, H/8, W/8)
        stage: Any  # a `ModuleDict`, which the annotations of `ModuleList` lose
        for stage, skip in zip(self.ups, reversed(skips)):
            x = stage['conv'](torch.cat([skip, stage['up'](x)], dim=1))
        return x, code


def _double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        ConvModule(in_channels, out_channels, 3, padding=1, norm_cfg=BN),
        ConvModule(out_channels, out_channels, 3, padding=1, norm_cfg=BN),
    )
