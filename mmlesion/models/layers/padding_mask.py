"""Padding mask of a batch, passed from the inputs to the attention layers.

The data preprocessor knows which pixels of a batch are padding, and attention layers
inside a backbone need this mask. The stock detectors between them do not pass a mask.
The mask is therefore stored as an attribute of the tensor that it describes. A tensor
without the attribute has no padding mask.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_ATTRIBUTE = 'padding_mask'
_CURRENT: ContextVar[Tensor | None] = ContextVar('padding_mask', default=None)


def set_padding_mask(tensor: Tensor, mask: Tensor | None) -> Tensor:
    """Attach a padding mask to a tensor.

    Args:
        tensor: Inputs or features, (N, ..., H, W).
        mask: Bool, (N, H', W'), true inside the image, at any resolution; None removes
            the mask.

    Returns:
        The tensor itself.
    """
    setattr(tensor, _ATTRIBUTE, mask)
    return tensor


def get_padding_mask(tensor: Tensor) -> Tensor | None:
    """Return the mask attached to a tensor, resized to the resolution of the tensor.

    Args:
        tensor: Inputs or features, (N, ..., H, W).

    Returns:
        Bool, (N, H, W), true inside the image; None if no mask is attached.
    """
    return resize_padding_mask(getattr(tensor, _ATTRIBUTE, None), tensor)


def resize_padding_mask(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """Resize a padding mask to the resolution and batch size of features.

    A cell is inside the image if its first pixel is.

    Args:
        mask: Bool, (N, H, W), true inside the image.
        like: Features, (N, ..., h, w), or (N * M, C, h, w) of M images for each mask.

    Returns:
        Bool, (B, h, w) with the batch size B of ``like``; None without a mask.

    Raises:
        ValueError: If the batch size of ``like`` is not a multiple of N.
    """
    if mask is None:
        return None
    height, width = like.shape[-2:]
    batch = like.shape[0]
    if batch % len(mask):
        raise ValueError(
            f'a padding mask of {len(mask)} images does not fit features of shape '
            f'{tuple(like.shape)}'
        )
    rows = torch.arange(height, device=mask.device) * mask.shape[1] // height
    cols = torch.arange(width, device=mask.device) * mask.shape[2] // width
    mask = mask[:, rows][:, :, cols]  # (N, h, w)
    if batch != len(mask):
        mask = mask.repeat_interleave(batch // len(mask), 0)  # (N*M, h, w)
    return mask


@contextmanager
def padding_mask_scope(mask: Tensor | None) -> Iterator[None]:
    """Provide a mask to all attention layers that run inside the ``with`` block.

    Args:
        mask: Bool, (N, H, W), true inside the image.
    """
    token = _CURRENT.set(mask)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_padding_mask(like: Tensor) -> Tensor | None:
    """Return the mask of the enclosing :func:`padding_mask_scope`.

    Args:
        like: Features, (N, ..., h, w) or (N * M, C, h, w).

    Returns:
        Bool, (B, h, w) with the batch size B of ``like``; None outside such a scope.
    """
    return resize_padding_mask(_CURRENT.get(), like)
