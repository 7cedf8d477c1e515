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
    """U-Net followed by a residual network; returns a feature map and a deep code.

    The U-Net has three encoder and three decoder blocks. Its segmentation output is
    replaced by a 1x1 convolution to 64 channels and residual blocks that halve the
    resolution. The code is the output of the third encoder block. The network does not
    learn a segmentation: it is trained with the classification loss alone. The heads
    use the feature map (:class:`CAMHead`, :class:`SoftActivationHead`) or both outputs
    (:class:`HESAMHead`).

    Source: Lei et al., "Soft Activation Mapping of Lung Nodules in Low-dose CT
    Images", arXiv 1810.12494, Fig. 2. The paper gives the numbers of blocks, the
    64 channels, the output of the residual blocks of 256 x 16 x 16 and the code of
    256 x 4 x 4. A residual block is two basic blocks of two 3x3 convolutions with batch
    normalization. The paper leaves the following choices open. We use 32, 64 and 128
    channels before the third encoder block, maximum pooling and transposed convolutions
    as in Ronneberger et al. (2015), batch normalization in the U-Net, and two residual
    blocks with 128 channels (which halves the resolution) and 256 channels.

    Args:
        in_channels: Number of slices, or scales, of the input.
        code_channels: Channels of the code. The levels above have 1/2, 1/4 and 1/8 of
            this number.
        unet_channels: Output channels of the 1x1 convolution.
        res_channels: Output channels of the residual blocks. The last number is the
            number of channels of the feature map.
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
