"""Convolutional patch embedding."""

from collections.abc import Sequence

from torch import nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class PatchStem(nn.Sequential):
    """Patch embedding by small convolutions in place of one large convolution.

    Convolutions of 3 x 3 pixels and stride 2, each with batch normalization and ReLU,
    double the channels up to ``out_channels``; a 1 x 1 convolution follows. A
    transformer that starts from random weights learns faster with this stem. Any
    ``PatchEmbed`` takes it as its convolution, the ``VisionTransformer`` of MMPretrain
    by ``patch_cfg=dict(conv_type='mmlesion.PatchStem')``.

    Source: Xiao et al., Early Convolutions Help Transformers See Better, NeurIPS
    2021, Sec. 4. Differs from it in: the number of convolutions follows from
    the side of the patch, and no layer of the transformer is removed.

    Args:
        in_channels: Channels of the picture.
        out_channels: Channels of a patch, a multiple of half the side of a patch.
        kernel_size: Side of a patch, a power of two.
        stride: The same number.
        padding: 0, as ``PatchEmbed`` gives it.
        dilation: 1, as ``PatchEmbed`` gives it.
        bias: Whether the last convolution has a bias.

    Shape:
        - Input: (N, in_channels, H, W), sides multiples of the patch's.
        - Output: (N, out_channels, H / side, W / side)

    Raises:
        ValueError: If the patches overlap or are not square, their side is no power
            of two, or the channels cannot be halved so often.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int],
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
    ) -> None:
        sides = {*_pair(kernel_size), *_pair(stride)}
        side = max(sides)
        if (
            len(sides) > 1
            or side < 2
            or side & (side - 1)
            or {*_pair(padding)} != {0}
            or {*_pair(dilation)} != {1}
        ):
            raise ValueError(
                'PatchStem makes square patches that do not overlap, their side a '
                f'power of two; got kernel_size={kernel_size}, stride={stride}, '
                f'padding={padding} and dilation={dilation}.'
            )
        if out_channels % (side // 2):
            raise ValueError(
                f'PatchStem: out_channels must be a multiple of '
                f'{side // 2} for patches of {side} pixels, got '
                f'{out_channels}.'
            )
        layers = []
        while side > 1:
            channels = out_channels // (side // 2)
            layers += [
                nn.Conv2d(in_channels, channels, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            in_channels, side = channels, side // 2
        super().__init__(*layers, nn.Conv2d(in_channels, out_channels, 1, bias=bias))


def _pair(value: int | Sequence[int]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)
