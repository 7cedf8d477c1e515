"""From maps on projections back to a place in the scan."""

from collections.abc import Mapping

import cv2
import numpy as np

#: How the maps of several views become one.
COMBINATIONS = ('product', 'mean', 'min')


def back_project(
    maps: Mapping[str, np.ndarray], mask: np.ndarray, combination: str = 'product'
) -> np.ndarray:
    r"""Position in 3-D of what maps of a volume's projections point at.

    Each map is laid along its rays again, so that a voxel :math:`p = (z, y, x)` has a
    value from each view,

    .. math::
        a_{axial}(y, x),\quad a_{coronal}(z, x),\quad a_{sagittal}(z, y)

    each scaled so that its greatest value on a ray that meets the mask is 1; negative
    ones count as nothing. The position is their geometric mean (``'product'``),
    arithmetic mean (``'mean'``) or least value (``'min'``) inside the mask, and 0
    outside.

    Source: Zusag et al., SAPSAM, Sec. 4 names "3D positioning of the detected
    pathological structures" as future work; how is ours. A sum lets two views that
    agree outvote the third; a product and a minimum ask for all.

    Args:
        maps (Mapping[str, np.ndarray]): Map of each view, at least one of
            ``'axial'``, ``'coronal'`` and ``'sagittal'``, of any resolution, placed as
            :func:`project_lungs` places its pictures: the head on top.
        mask (np.ndarray): Where the position may be, e.g. a sub-region's lung.
        combination (str): One of :data:`COMBINATIONS`.

    Shape:
        - maps: (rows, columns); mask, output: (D, H, W), z rising to the head

    Returns:
        np.ndarray: float32 in [0, 1]; all 0 where some map is nowhere positive on the
        mask.

    Raises:
        ValueError: If there is no map, a view or combination is unknown, a map is not
            2D or not finite, or the mask not 3D.
    """
    mask = np.asarray(mask) > 0
    if mask.ndim != 3 or mask.size == 0:
        raise ValueError(f'the mask must have shape (D, H, W), but has {mask.shape}')
    if combination not in COMBINATIONS:
        raise ValueError(
            f'combination must be one of {", ".join(COMBINATIONS)}, but '
            f'is {combination!r}'
        )
    if not maps:
        raise ValueError('there is no map to be laid back into the volume')
    rays = [_along_rays(name, each, mask) for name, each in maps.items()]
    if not all(each.any() for each in rays):
        return np.zeros(mask.shape, np.float32)
    if combination == 'min':
        position = np.minimum.reduce(np.broadcast_arrays(*rays))
    elif combination == 'mean':
        position = sum(rays) / len(rays)
    else:
        position = np.float32(1)
        for each in rays:
            position = position * each
        position = position ** np.float32(1 / len(rays))
    return np.where(mask, np.broadcast_to(position, mask.shape), np.float32(0))


def _along_rays(view: str, activation: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """One view's map on the voxels, of length 1 along its rays."""
    activation = np.asarray(activation, np.float32)
    if activation.ndim != 2 or not np.isfinite(activation).all():
        raise ValueError(
            f'the {view} map must be 2D and finite, but has shape {activation.shape}'
        )
    depth, height, width = mask.shape
    sizes = dict(
        axial=(height, width), coronal=(depth, width), sagittal=(depth, height)
    )
    if view not in sizes:
        raise ValueError(f'views are {", ".join(sizes)}, but one map is of {view!r}')
    rows, columns = sizes[view]
    full = cv2.resize(
        np.maximum(activation, 0), (columns, rows), interpolation=cv2.INTER_LINEAR
    )
    if view != 'axial':
        full = full[::-1]  # the head was on top
    axis = list(sizes).index(view)
    full = np.expand_dims(full, axis) * mask.any(axis, keepdims=True)
    return full / max(full.max(), np.finfo(np.float32).tiny)
