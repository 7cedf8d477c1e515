"""Resizing, normalization and pixel ranks of raw maps."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_map(maps: Tensor, size: Sequence[int], mode: str = 'linear') -> Tensor:
    """Resize maps to another size.

    Args:
        maps: Raw maps.
        size: Rows and columns, or depth, rows and columns.
        mode: ``'linear'`` (cell centers keep their positions, as with
            ``align_corners=False``) or ``'nearest'``.

    Shape:
        - maps: (B, K, h, w) or (B, K, d, h, w)
        - output: (B, K, *size), the dtype of ``maps``

    Raises:
        ValueError: If the size does not match the maps, or the mode is unknown.
    """
    size = tuple(int(side) for side in size)
    grid = maps.shape[2:]
    if len(size) != len(grid) or len(grid) not in (1, 2, 3) or min(size) < 1:
        raise ValueError(
            f'maps of shape {tuple(maps.shape)} cannot be resized to '
            f'{size}: give one positive size for each of '
            f'{tuple(grid)}'
        )
    modes = dict(
        linear=('linear', 'bilinear', 'trilinear')[len(grid) - 1],
        nearest='nearest-exact',
    )
    if mode not in modes:
        raise ValueError(f'mode must be one of {list(modes)}, got {mode!r}')
    return F.interpolate(
        maps, size, mode=modes[mode], align_corners=False if mode == 'linear' else None
    )


def normalize_map(
    maps: Tensor, mode: str = 'image', value_range: Sequence[float] = (0.0, 1.0)
) -> Tensor:
    """Scale maps to [0, 1] for display.

    Normalization per image sets the maximum of *every* map to 1, even if the map shows
    no evidence. Normalized maps are for display only. Metrics that compare values of
    different images need raw maps.

    Args:
        maps: Raw maps.
        mode: ``'none'`` returns the maps unchanged. ``'image'`` maps the
            smallest and largest value of each (sample, class) to 0 and 1, and a
            constant map to 0. ``'fixed'`` maps ``value_range`` to [0, 1] and
            clips, so that samples can be compared.
        value_range: Value range for ``'fixed'``.

    Shape:
        - maps: (B, K, *grid)
        - output: As ``maps``.

    Raises:
        ValueError: If the mode is unknown or the range is empty.
    """
    if mode == 'none':
        return maps
    if mode == 'fixed':
        low, high = map(float, value_range)
        if not high > low:
            raise ValueError(
                'value_range must be (low, high) with low < high, got '
                f'{tuple(value_range)}'
            )
        return ((maps - low) / (high - low)).clamp(0, 1)
    if mode != 'image':
        raise ValueError(
            f"mode must be one of ['none', 'image', 'fixed'], got {mode!r}"
        )
    if maps.numel() == 0:
        return maps
    dims = tuple(range(2, maps.dim()))
    low = maps.amin(dims, keepdim=True)
    span = maps.amax(dims, keepdim=True) - low
    return torch.where(span > 0, (maps - low) / span, 0.0)


def pixel_ranks(maps: Tensor, seed: int = 0) -> Tensor:
    """Rank the pixels of each map; equal values are ranked in random order.

    The random order is the same for all maps. An order by position would measure where
    the zeros of a map are, e.g. those of a map after ReLU.

    Args:
        maps: Raw maps.
        seed: Random seed of the order of equal values.

    Shape:
        - maps: (B, K, *grid)
        - output: (B, K, number of pixels), int64; 0 is the smallest value
    """
    values = maps.flatten(2)
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(values.shape[2], generator=generator).to(maps.device)
    order = shuffled[values[..., shuffled].argsort(dim=2, stable=True)]
    places = torch.arange(values.shape[2], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(2, order, places)
