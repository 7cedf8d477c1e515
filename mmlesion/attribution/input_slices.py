"""Slices among the channels of a network's input."""

from torch import nn


def num_input_scales(model: nn.Module) -> int:
    """Return the number of scales at which the input contains each slice.

    The channels are the slices of the first scale, then those of the next, as for
    :class:`~mmlesion.models.backbones.TwoScaleBackbone`.

    Args:
        model: The model.
    """
    return max(getattr(each, 'num_input_scales', 1) for each in model.modules())


def middle_channel(model: nn.Module, num_channels: int) -> int:
    """Return the channel of the middle slice at the first scale.

    Args:
        model: The model.
        num_channels: Number of channels of the input.
    """
    return num_channels // num_input_scales(model) // 2
