"""Convolutional patch embedding."""

from collections.abc import Sequence

from torch import nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class PatchStem(nn.Sequential):
    """Patch embedding by small convolutions in place of one large convolution.

    Each 3 x 3 convolution with stride 2 is followed by batch normalization and ReLU.
    The convolutions double the channels up to ``out_channels``; a 1 x 1 convolution
    follows. A transformer that starts from random weights learns faster with this stem.
    It can replace the convolution of any ``PatchEmbed``, as in
    ``patch_cfg=dict(conv_type='mmlesion.PatchStem')`` for the ``VisionTransformer`` of
    MMPretrain.

    Source: Xiao et al., Early Convolutions Help Transformers See Better, NeurIPS
    2021, Sec. 4. Differs from it in: the number of convolutions is derived from
    the patch size, and no layer of the transformer is removed.

    Args:
        in_channels: Channels of the image.
        out_channels: Channels of a patch, a multiple of half the patch size.
        kernel_size: Side of a patch in pixels, a power of two.
        stride: Must equal ``kernel_size``.
        padding: Must be 0, the value that ``PatchEmbed`` passes.
        dilation: Must be 1, the value that ``PatchEmbed`` passes.
        bias: Whether the last convolution has a bias.

    Shape:
        - Input: (N, in_channels, H, W), H and W multiples of the patch size.
        - Output: (N, out_channels, H / side, W / side)

    Raises:
        ValueError: If the patches overlap or are not square, their side is not a power
            of two, or ``out_channels`` cannot be halved often enough.
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
                'PatchStem needs square patches that do not overlap and whose side is '
                f'a power of two; got kernel_size={kernel_size}, stride={stride}, '
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
