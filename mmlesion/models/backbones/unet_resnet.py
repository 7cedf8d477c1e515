from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.resnet import BasicBlock, make_res_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS

BN = dict(type='BN')


@MODELS.register_module()
class UNetResNet(BaseModule):
    """U-Net followed by a residual network: a feature map and a deep code.

    Three blocks down and three up, as in a U-Net; then, in place of the U-Net's
    segmentation, a 1x1 convolution to 64 maps, and residual blocks that halve
    the grid once. The code is what the third block down gives: no segmentation
    is learnt, so it is shaped by the classification loss alone. Heads read the
    feature map (:class:`CAMHead`, :class:`SoftActivationHead`) or both
    (:class:`HESAMHead`).

    Source: Lei et al., "Soft Activation Mapping of Lung Nodules in Low-dose CT
    Images", arXiv 1810.12494, Fig. 2. The paper gives the numbers of blocks, the
    64 maps, the residual blocks' output of 256 x 16 x 16 and the code of
    256 x 4 x 4; a residual block is two basic blocks of two 3x3 convolutions,
    with batch normalisation. Ours, because it does not say: 32, 64, 128 maps
    before the third block down, maximum pooling and transposed convolutions as
    in Ronneberger et al. (2015), batch normalisation in the U-Net too, and two
    residual blocks, of 128 maps (where the grid is halved) and 256.

    Args:
        in_channels (int): Slices, or scales, of the input.
        code_channels (int): Maps of the code; the levels above it have a half,
            a quarter and an eighth of them. Defaults to 256.
        unet_channels (int): Maps of the 1x1 convolution. Defaults to 64.
        res_channels (sequence of int): Maps of each residual block; the last
            is the number of maps of the features.
        init_cfg (dict or list, optional): Initialisation, Kaiming by default.

    Shape:
        - Input: (N, in_channels, H, W), H and W divisible by 8.
        - Output: a tuple of the features (N, res_channels[-1], H/2, W/2) and the
          code (N, code_channels, H/8, W/8); for the paper's patches of 32 x 32
          these are (N, 256, 16, 16) and (N, 256, 4, 4).

    Raises:
        ValueError: The sides of the input are not divisible by 8, or it has
            other than ``in_channels`` channels.
    """

    def __init__(self,
                 in_channels: int = 11,
                 code_channels: int = 256,
                 unet_channels: int = 64,
                 res_channels: Sequence[int] = (128, 256),
                 init_cfg=[
                     dict(type='Kaiming', layer=['Conv2d', 'ConvTranspose2d']),
                     dict(type='Constant', layer='BatchNorm2d', val=1)
                 ]):
        super().__init__(init_cfg=init_cfg)
        if code_channels % 8 or code_channels <= 0:
            raise ValueError('UNetResNet: code_channels must be a positive '
                             f'multiple of 8, got {code_channels}.')
        self.in_channels = in_channels
        widths = [code_channels // 8, code_channels // 4, code_channels // 2,
                  code_channels]
        self.stem = _double_conv(in_channels, widths[0])
        self.downs = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), _double_conv(few, many))
            for few, many in zip(widths[:-1], widths[1:]))
        self.ups = nn.ModuleList(
            nn.ModuleDict(dict(
                up=nn.ConvTranspose2d(many, few, 2, stride=2),
                conv=_double_conv(2 * few, few)))
            for few, many in zip(widths[-2::-1], widths[:0:-1]))
        self.out = ConvModule(widths[0], unet_channels, 1, norm_cfg=BN)
        blocks, channels = [], unet_channels
        for index, width in enumerate(res_channels):
            blocks.append(make_res_layer(
                BasicBlock, channels, width, 2, stride=1 if index else 2))
            channels = width
        self.residual = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1] != self.in_channels:
            raise ValueError(
                f'UNetResNet: expected an input of {self.in_channels} channels, '
                f'got {x.shape[1]}; in_channels must be that of the data.')
        if x.shape[-2] % 8 or x.shape[-1] % 8:
            raise ValueError(
                'UNetResNet: the sides of the input must be divisible by 8, got '
                f'{x.shape[-2]} x {x.shape[-1]}.')
        x = self.stem(x)
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        code = x  # (N, code_channels, H/8, W/8)
        for stage, skip in zip(self.ups, reversed(skips)):
            x = stage['conv'](torch.cat([skip, stage['up'](x)], dim=1))
        features = self.residual(self.out(x))  # (N, res_channels[-1], H/2, W/2)
        return features, code


def _double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        ConvModule(in_channels, out_channels, 3, padding=1, norm_cfg=BN),
        ConvModule(out_channels, out_channels, 3, padding=1, norm_cfg=BN))
