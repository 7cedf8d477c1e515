"""Position error of a map in 3-D."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from scipy import ndimage


class MapPosition(NamedTuple):
    """Distance of a map from its target structure, and chance levels.

    Attributes:
        distance_mm: Distance of the maximum of the map from the structure; 0 inside.
        chance_mm: Mean distance of a random voxel from the structure.
        chance_within: Fraction of the voxels within the tolerance.
        dice: Dice at the best threshold of this map.
        chance_dice: Dice of a constant map, which marks all voxels.
    """

    distance_mm: float
    chance_mm: float
    chance_within: float
    dice: float
    chance_dice: float


def map_position(
    activation: np.ndarray,
    mask: np.ndarray,
    inside: np.ndarray,
    spacing_mm: Sequence[float],
    tolerance_mm: float = 15,
) -> MapPosition:
    """Measure the position of the maximum of a 3-D map.

    Args:
        activation: Map.
        mask: Mask of the structure, which may extend beyond ``inside``.
        inside: Mask of the allowed region, such as the lung in a lung region. Other
            voxels are ignored for the map and for chance.
        spacing_mm: Voxel size (z, y, x).
        tolerance_mm: Distance in mm for ``chance_within``.

    Shape:
        - activation, mask, inside: (D, H, W)

    Returns:
        Distances in mm (lower is better) and Dice in [0, 1] (higher is better). If
        several voxels have the largest value, their mean distance is used. A constant
        map therefore has the distance of chance.

    Raises:
        ValueError: If the structure or ``inside`` is empty, or shapes differ.
    """
    activation = np.asarray(activation)
    mask, inside = np.asarray(mask, bool), np.asarray(inside, bool)
    if not activation.shape == mask.shape == inside.shape:
        raise ValueError(
            'the map, the structure and the search region must have the '
            f'same shape, but have {activation.shape}, {mask.shape} and '
            f'{inside.shape}'
        )
    if not mask.any() or not inside.any():
        raise ValueError(
            'there is no structure to find'
            if inside.any()
            else 'there is no region to search'
        )
    distances = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    away = cast(np.ndarray, distances)[inside]
    values, hits = activation[inside], mask[inside]
    distance = away[values == values.max()].mean()
    # Voxels of the structure outside of the region cannot be marked and are missed.
    total = int(mask.sum())
    return MapPosition(
        float(distance),
        float(away.mean()),
        float((away <= tolerance_mm).mean()),
        _best_dice(values, hits, total),
        float(2 * hits.sum() / (hits.size + total)),
    )


def _best_dice(values: np.ndarray, hits: np.ndarray, total: int) -> float:
    """Return the largest Dice over all thresholds."""
    order = np.argsort(-values, kind='stable')
    found = np.cumsum(hits[order])
    dice = 2 * found / (np.arange(1, hits.size + 1) + total)
    # A threshold marks all voxels of a value or none of them.
    last = np.append(np.diff(values[order]) != 0, True)
    return float(dice[last].max())
