"""2-D convolutions whose input is first mixed along z."""

import re
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from mmlesion.registry import MODELS


class ContextConv2d(nn.Conv2d):
    """A 2-D convolution with a slice context layer before it.

    The parameter names are those of the plain convolution, so 2-D weights load
    unchanged.

    Args:
        conv: The convolution to replace. Its parameters are shared, not copied.
        context: Layer from (N, M, C, H, W) to the same shape, with an attribute
            ``num_images``.

    Shape:
        - Input: (N * M, C, H, W); the M slices of a stack are consecutive.
        - Output: (N * M, C', H', W').
    """

    context: nn.Module

    def __init__(self, conv: nn.Conv2d, context: nn.Module) -> None:
        # Share all attributes of the convolution, including its parameters.
        nn.Module.__init__(self)
        self.__dict__.update(
            {
                key: value
                for key, value in conv.__dict__.items()
                if key not in ('_modules', '_parameters', '_buffers')
            }
        )
        self._parameters = conv._parameters
        self.context = context

    def forward(self, input: Tensor) -> Tensor:
        """Mix the slices, then convolve each of them."""
        num_images = cast(int, self.context.num_images)
        stack = input.unflatten(0, (-1, num_images))  # (N, M, C, H, W)
        mixed = self.context(stack).flatten(0, 1)  # (N*M, C, H, W)
        return super().forward(mixed.contiguous(memory_format=torch.channels_last))


def add_slice_context(
    network: nn.Module, context: dict[str, Any], layers: str = ''
) -> list[str]:
    """Replace the spatial convolutions of a 2-D network by :class:`ContextConv2d`.

    1x1 convolutions and the first convolution of the network, whose input is the image,
    are not changed.

    Args:
        network: The 2-D network, modified in place.
        context: Config of the context layer. ``in_channels`` is set by this function.
        layers: Regular expression that is searched in the names of
            ``network.named_modules()``. By default, all convolutions are replaced.

    Returns:
        The names of the replaced convolutions.

    Raises:
        ValueError: If the name of no convolution matches, or a convolution is not a
            plain one.
    """
    convs = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, _ConvNd)
    ]
    replaced = []
    for name, conv in convs[1:]:
        if (
            not isinstance(conv, nn.Conv2d)
            or max(conv.kernel_size) == 1
            or not re.search(layers, name)
        ):
            continue
        if type(conv).__name__ != 'Conv2d':  # of torch, or MMCV's wrapper
            raise ValueError(
                f'{name} is a {type(conv).__name__}, but slice context replaces only '
                'plain convolutions; change context_layers or conv_cfg'
            )
        layer = MODELS.build(dict(context, in_channels=conv.in_channels))
        parent, _, child = name.rpartition('.')
        setattr(network.get_submodule(parent), child, ContextConv2d(conv, layer))
        replaced.append(name)
    if not replaced:
        raise ValueError(
            f'{type(network).__name__} has no spatial convolution whose name matches '
            f'{layers!r}; its convolutions are '
            + ', '.join(name for name, _ in convs[:6])
            + ', ...'
        )
    return replaced
