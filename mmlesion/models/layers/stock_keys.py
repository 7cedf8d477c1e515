"""Renaming of pretrained weights for modules that wrap a stock module."""

from torch import Tensor, nn


def rename_stock_keys(
    state_dict: dict[str, Tensor], prefix: str, name: str, child: nn.Module
) -> None:
    """Rename the weights of a stock module to those of the wrapper around it.

    A checkpoint of a stock detector has ``backbone.layer1...``; a detector whose
    backbone wraps the stock backbone as its child ``backbone`` expects
    ``backbone.backbone.layer1...``. Only keys of the child are renamed, so all other
    keys are reported as unexpected, as usual. Keys that already have the new name are
    not changed.

    Args:
        state_dict: Weights, modified in place.
        prefix: Prefix of the wrapper in the state dict, such as ``'backbone.'``.
        name: Attribute of the wrapper that holds the stock module.
        child: The stock module.
    """
    for key in child.state_dict():
        stock, wrapped = prefix + key, f'{prefix}{name}.{key}'
        if stock in state_dict and wrapped not in state_dict:
            state_dict[wrapped] = state_dict.pop(stock)
