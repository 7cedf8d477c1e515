"""Check of a map and its mask."""

import numpy as np


def map_and_mask(
    activation: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a map and its mask as arrays.

    Args:
        activation: The map.
        mask: Nonzero on the lesion.

    Shape:
        - activation, mask: any, the same.

    Returns:
        The map, and the mask as bool.

    Raises:
        ValueError: If the shapes differ, or a value is NaN or infinite.
    """
    activation, mask = np.asarray(activation), np.asarray(mask)
    if activation.shape != mask.shape:
        raise ValueError(
            f'the map has shape {activation.shape} and the mask {mask.shape}; '
            'expected the same'
        )
    for what, values in (('map', activation), ('mask', mask)):
        if values.dtype.kind == 'f' and not np.isfinite(values).all():
            raise ValueError(f'the {what} has values that are not finite')
    return activation, mask.astype(bool, copy=False)
