from torch import nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class PatchStem(nn.Sequential):
    """Patches by small convolutions, where a transformer has one large one.

    Convolutions of 3 x 3 pixels and stride 2, each with batch normalisation and
    ReLU, double their channels up to ``out_channels``; one of 1 x 1 follows. A
    transformer that starts from random weights learns faster with it. Any
    ``PatchEmbed`` takes it as its convolution, that of MMPretrain's
    ``VisionTransformer`` by ``patch_cfg=dict(conv_type='mmlesion.PatchStem')``.

    Source: Xiao et al., Early Convolutions Help Transformers See Better, NeurIPS
    2021, Sec. 4. Differs from it in: always as many steps as the patch's side has
    powers of two, and as deep a transformer as without.

    Args:
        in_channels (int): Channels of the picture.
        out_channels (int): Channels of a patch, a multiple of half the patch's side.
        kernel_size (tuple[int, int] | int): Side of a patch, a power of two.
        stride (tuple[int, int] | int): The same.
        padding, dilation, bias: As ``PatchEmbed`` gives them; without padding and
            dilation, the last convolution has the bias.

    Shape:
        - Input: (N, in_channels, H, W), sides multiples of the patch's.
        - Output: (N, out_channels, H / side, W / side)

    Raises:
        ValueError: The patches overlap, are not square, or their side is no power
            of two; the channels cannot be halved so often.
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding=0,
        dilation=1,
        bias=True,
    ):
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


def _pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)
