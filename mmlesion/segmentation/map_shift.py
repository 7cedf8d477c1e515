"""Translation of activation maps."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def shift_map(maps: Tensor, shift_px: Sequence[float]) -> Tensor:
    """Translate maps by whole pixels.

    A network that was trained from scratch with slice labels can respond next to a
    nodule, because the pooled score does not depend on the position of the response.
    The displacement is nearly the same in all slices, and this function corrects it.
    The border values are repeated.

    Args:
        maps: Maps.
        shift_px: Displacement (rows, columns) of the content, rounded to whole pixels.

    Returns:
        Translated maps.

    Shape:
        - maps, output: (..., H, W)
    """
    height, width = maps.shape[-2:]
    rows, columns = (round(float(value)) for value in shift_px)
    y = (torch.arange(height, device=maps.device) - rows).clamp(0, height - 1)
    x = (torch.arange(width, device=maps.device) - columns).clamp(0, width - 1)
    return maps[..., y[:, None], x]


def map_peak(nodule_map: Tensor) -> np.ndarray:
    """Return row and column of the maximum of a map.

    Args:
        nodule_map: The map.

    Shape:
        - nodule_map: (H, W)
        - output: (2, )
    """
    return np.array(np.unravel_index(int(nodule_map.argmax()), nodule_map.shape))
