"""Plausibility checks of lung masks."""

import numpy as np

from .lung_sides import LEFT_LUNG, RIGHT_LUNG, left_right_lungs
from .volume import CTVolume

_VOLUME_ML = (600.0, 9500.0)  # of both lungs, from full expiration to hyperinflation
_AIR_HU = -400.0
_AIR_SHARE = 0.5  # of the mask: less indicates consolidation, effusion or a wrong mask
_EMPTY_HU = -960.0
_EMPTY_SHARE = 0.5  # of the mask: more indicates gas rather than emphysema
_SMALL_SHARE = 0.2  # of the volume of the larger lung
_ABOVE_MM = 20.0  # extent of the scan above the lungs that must contain the trachea


def lung_doubts(
    mask: np.ndarray, volume: CTVolume, trachea: bool | None = None
) -> list[str]:
    """Find reasons to doubt a lung mask.

    The volume of the lungs, the fraction of air, the symmetry of both lungs and the
    trachea are compared with plausible values of a chest CT. Volume and symmetry are
    not checked if the field of view cuts off the lungs.

    Args:
        mask: Mask of the lungs.
        volume: The scan in HU.
        trachea: Whether a trachea was found; None if it was not searched.

    Shape:
        - mask: (D, H, W)

    Returns:
        A clause for each reason; an empty list for a plausible mask.

    Raises:
        ValueError: If the mask is empty or differs in shape from the volume.
    """
    sides = left_right_lungs(mask, volume)
    # Process slice by slice to save memory.
    voxels = np.sum([np.bincount(own.ravel(), minlength=3) for own in sides], axis=0)
    ml = [
        float(voxels[side] * np.prod(volume.spacing_mm) / 1000)
        for side in (LEFT_LUNG, RIGHT_LUNG)
    ]
    del sides
    planes = np.flatnonzero(mask.any((1, 2)))
    at_end = planes[0] == 0 or planes[-1] == len(mask) - 1
    at_side = bool(mask[:, [0, -1]].any() or mask[:, :, [0, -1]].any())
    doubts = []
    if sum(ml) > _VOLUME_ML[1] or (sum(ml) < _VOLUME_ML[0] and not at_end | at_side):
        doubts.append(
            f'it holds {sum(ml):.0f} ml, expected {_VOLUME_ML[0]:g} to '
            f'{_VOLUME_ML[1]:g} ml'
        )
    air, empty = (
        sum(int((hu[own] < limit).sum()) for hu, own in zip(volume.array, mask))
        / voxels[1:].sum()
        for limit in (_AIR_HU, _EMPTY_HU)
    )
    if air < _AIR_SHARE:
        doubts.append(f'only {air:.0%} of it is below {_AIR_HU:g} HU, as lung is')
    if empty > _EMPTY_SHARE:
        doubts.append(f'{empty:.0%} of it is below {_EMPTY_HU:g} HU, as gas is')
    if min(ml) < _SMALL_SHARE * max(ml) and not at_side:
        small = ('left', 'right')[int(np.argmin(ml))]
        doubts.append(
            f'the {small} lung holds {min(ml):.0f} ml and the other one '
            f'{max(ml):.0f} ml'
        )
    to_head = volume.direction[2, 2] > 0
    above = len(mask) - 1 - planes[-1] if to_head else planes[0]
    if trachea is False and above * volume.spacing_mm[0] >= _ABOVE_MM:
        doubts.append('no trachea leads to it from above')
    return doubts
