"""Back-projection of 2-D maps of several views into the volume."""

from collections.abc import Mapping

import cv2
import numpy as np

#: Ways to combine the maps of several views.
COMBINATIONS = ('product', 'mean', 'min')


def back_project(
    maps: Mapping[str, np.ndarray], mask: np.ndarray, combination: str = 'product'
) -> np.ndarray:
    r"""Combine maps of the projections of a volume into a 3-D map.

    Each map is repeated along its rays, so that a voxel :math:`p = (z, y, x)` has a
    value from each view,

    .. math::
        a_{axial}(y, x),\quad a_{coronal}(z, x),\quad a_{sagittal}(z, y)

    The values are scaled so that the largest value on a ray through the mask is 1.
    Negative values become 0. Inside the mask, the result is the geometric mean
    (``'product'``), the arithmetic mean (``'mean'``) or the minimum (``'min'``) of the
    views. Outside, it is 0.

    Source: an addition to Zusag et al., SAPSAM, whose Sec. 4 names "3D positioning of
        the
    detected pathological structures" as future work. With a mean, two views that agree
    can outvote the third. A product and a minimum need all views.

    Args:
        maps: Maps by view (``'axial'``, ``'coronal'`` and ``'sagittal'``, at least
            one), of any resolution, with the head at the top as in
            ``'sagittal'``, of any resolution, with the head on top as in
            :func:`project_lungs`.
        mask: Voxels where the result may be positive, such as the lung of a region.
        combination: One of :data:`COMBINATIONS`.

    Shape:
        - maps: (rows, columns)
        - mask, output: (D, H, W), z increasing toward the head

    Returns:
        float32 array in [0, 1]; 0 everywhere if a map is not positive on the mask.

    Raises:
        ValueError: If there is no map, a view or combination is unknown, a map is not
            2D or not finite, or the mask is not 3D.
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
        raise ValueError('there are no maps to project back into the volume')
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
    """Return the map of a view on the voxels, with length 1 along its rays."""
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
        full = full[::-1]  # the head is at the top of the map
    axis = list(sizes).index(view)
    full = np.expand_dims(full, axis) * mask.any(axis, keepdims=True)
    return full / max(full.max(), np.finfo(np.float32).tiny)
