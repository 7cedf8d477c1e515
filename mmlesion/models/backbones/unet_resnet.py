"""U-Net and residual network of HESAM."""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmcv.cnn.resnet import BasicBlock, make_res_layer
from torch import Tensor, nn

from mmlesion.registry import MODELS

from .unet import BN, UNet


@MODELS.register_module()
class UNetResNet(UNet):
    """U-Net followed by a residual network: a feature map and a deep code.

    Three blocks down and three up form a U-Net. In place of its segmentation output, a
    1x1 convolution to 64 maps and residual blocks that halve the grid once follow. The
    code is the output of the third block down. No segmentation is learned: only the
    classification loss trains the network. Heads read the feature map
    (:class:`CAMHead`, :class:`SoftActivationHead`) or both (:class:`HESAMHead`).

    Source: Lei et al., "Soft Activation Mapping of Lung Nodules in Low-dose CT
    Images", arXiv 1810.12494, Fig. 2. The paper gives the numbers of blocks, the
    64 maps, the output of the residual blocks of 256 x 16 x 16 and the code of
    256 x 4 x 4. A residual block is two basic blocks of two 3x3 convolutions with batch
    normalization. The paper leaves open the following choices: 32, 64, 128 maps before
    the third block down, maximum pooling and transposed convolutions as in Ronneberger
    et al. (2015), batch normalization in the U-Net too, and two residual blocks of 128
    maps (where the grid is halved) and 256.

    Args:
        in_channels: Number of slices, or scales, of the input.
        code_channels: Maps of the code. The levels above it have a half, a quarter
            and an eighth as many.
        unet_channels: Maps of the 1x1 convolution.
        res_channels: Maps of the residual blocks. The last is the number of maps of
            the features.
        **kwargs: ``init_cfg`` of :class:`UNet`.

    Shape:
        - Input: (N, in_channels, H, W), H and W divisible by 8.
        - Output: a tuple of the features (N, res_channels[-1], H/2, W/2) and the
          code (N, code_channels, H/8, W/8); for the paper's patches of 32 x 32
          these are (N, 256, 16, 16) and (N, 256, 4, 4).

    Raises:
        ValueError: If the sides of the input are not divisible by 8, or its number
            of channels is not ``in_channels``.
    """

    def __init__(
        self,
        in_channels: int = 11,
        code_channels: int = 256,
        unet_channels: int = 64,
        res_channels: Sequence[int] = (128, 256),
        **kwargs: Any,
    ) -> None:
        super().__init__(in_channels, code_channels, **kwargs)
        self.out = ConvModule(code_channels // 8, unet_channels, 1, norm_cfg=BN)
        blocks, channels = [], unet_channels
        for index, width in enumerate(res_channels):
            block: Any = BasicBlock  # a class, which MMCV annotates as a module
            blocks.append(
                make_res_layer(block, channels, width, 2, stride=1 if index else 2)
            )
            channels = width
        self.residual = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the residual network and the code."""
        x, code = super().forward(x)
        features = self.residual(self.out(x))  # (N, res_channels[-1], H/2, W/2)
        return features, code
