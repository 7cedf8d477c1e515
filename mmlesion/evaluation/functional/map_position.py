"""Position error of a map in 3-D."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from scipy import ndimage


class MapPosition(NamedTuple):
    """How near a map comes to what it should point at, beside the chance level.

    Attributes:
        distance_mm: Of the map's maximum from the structure; 0 inside of it.
        chance_mm: The same of a voxel drawn at random: its mean.
        chance_within: Share of the voxels that are no farther than the tolerance.
        dice: Dice at the threshold that is best for this map.
        chance_dice: Dice of a map of one value, which marks all or nothing.
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
    """Measure where a map in 3-D points.

    Args:
        activation: The map.
        mask: True on the structure, which may reach out of ``inside``.
        inside: Where the map was allowed to point, e.g. the lung in a
            sub-region; all else counts neither for the map nor for chance.
        spacing_mm: Voxel size (z, y, x).
        tolerance_mm: How far is near, for ``chance_within``.

    Shape:
        - activation, mask, inside: (D, H, W)

    Returns:
        Distances in mm (lower is better) and Dice in [0, 1] (higher is).
        Several voxels may share the greatest value: their mean distance counts, so
        that a map without contrast has that of chance.

    Raises:
        ValueError: If the structure or ``inside`` is empty, or shapes differ.
    """
    activation = np.asarray(activation)
    mask, inside = np.asarray(mask, bool), np.asarray(inside, bool)
    if not activation.shape == mask.shape == inside.shape:
        raise ValueError(
            'the map, the structure and where to look must have one '
            f'shape, but have {activation.shape}, {mask.shape} and '
            f'{inside.shape}'
        )
    if not mask.any() or not inside.any():
        raise ValueError(
            'there is no structure to be found'
            if inside.any()
            else 'there is no place where to look'
        )
    distances = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    away = cast(np.ndarray, distances)[inside]
    values, hits = activation[inside], mask[inside]
    distance = away[values == values.max()].mean()
    # What lies outside can never be marked, but is missed.
    total = int(mask.sum())
    return MapPosition(
        float(distance),
        float(away.mean()),
        float((away <= tolerance_mm).mean()),
        _best_dice(values, hits, total),
        float(2 * hits.sum() / (hits.size + total)),
    )


def _best_dice(values: np.ndarray, hits: np.ndarray, total: int) -> float:
    """Greatest Dice over all thresholds that the values allow."""
    order = np.argsort(-values, kind='stable')
    found = np.cumsum(hits[order])
    dice = 2 * found / (np.arange(1, hits.size + 1) + total)
    # A threshold marks all voxels of a value or none of them.
    last = np.append(np.diff(values[order]) != 0, True)
    return float(dice[last].max())
