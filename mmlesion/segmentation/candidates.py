"""Candidates for a nodule in a scope."""

from typing import cast

import numpy as np
from scipy import ndimage

from .icm import segment_phases


def nodule_candidates(
    image: np.ndarray,
    scope: np.ndarray,
    means: np.ndarray,
    smoothness: float,
    min_pixels: int = 4,
    edge: float = 0.5,
) -> np.ndarray:
    """Segment the candidates for a nodule inside a scope (coarse segmentation).

    The bounding box of the scope is divided into phases. The parts are the connected
    regions, inside the scope, of all phases brighter than the darkest (lung). With
    :func:`phase_means`, the second phase contains ground glass and the partial volume
    around solid tissue. Pixels of a part whose value is below ``edge`` of the way
    from lung to the median of the part are removed. The connected regions that remain
    are the candidates.

    A vessel or the chest wall that extends into the scope is also a candidate, cut off
    at the edge of the scope. A nodule that touches it belongs to the same candidate.

    Source: Feng et al., arXiv 1707.01086, Sec. 2.2, "Coarse Segmentation". The paper
    does not define the phases of candidates or their edges.

    Args:
        image: HU (or any other intensities), (H, W) or (H, W, C).
        scope: (H, W) bool; may touch the border.
        means: Means of the phases, darkest first, from :func:`phase_means`.
        smoothness: As :func:`segment_phases`, in squared units of the image.
        min_pixels: Smaller parts are removed as noise.
        edge: Position of the edge of a part between lung (0) and the median of the
            part (1). The default is half-way. Readers of LIDC-IDRI draw nodules
            larger than that.

    Returns:
        Int64 (H, W): 0 outside the candidates, the number of the candidate inside.
        Candidate 1 is the largest. All values are 0 if there is no candidate.

    Raises:
        ValueError: If the scope is empty, its size differs from the image, or ``edge``
            is not in (0, 1).
    """
    if not 0 < edge < 1:
        raise ValueError(f'edge must be between 0 and 1, got {edge}.')
    scope = np.asarray(scope, bool)
    if scope.shape != np.shape(image)[:2]:
        raise ValueError(
            f'the scope has shape {scope.shape} and the image '
            f'{np.shape(image)[:2]}: one size was expected.'
        )
    if not scope.any():
        raise ValueError('the scope is empty; expected at least one pixel.')
    box = ndimage.find_objects(scope.astype(int))[0]
    image = np.asarray(image, float)[box]
    bright = (segment_phases(image, means, smoothness) > 0) & scope[box]
    parts, _ = _connected(_without_partial_volume(image, bright, means[0], edge))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    order = np.argsort(-sizes, kind='stable')
    kept = order[sizes[order] >= max(min_pixels, 1)]
    number = np.zeros_like(sizes)
    number[kept] = np.arange(1, len(kept) + 1)
    candidates = np.zeros(scope.shape, int)
    candidates[box] = number[parts]
    return candidates


def _without_partial_volume(
    image: np.ndarray, bright: np.ndarray, lung: np.ndarray, edge: float
) -> np.ndarray:
    """Keep pixels of bright parts beyond ``edge`` of the way from lung to the median.

    The way of a pixel is its projection on the line from lung to the median.
    """
    parts, count = _connected(bright)
    image = np.atleast_3d(image)  # (H, W, C)
    medians = np.stack(
        [
            ndimage.median(channel, parts, np.arange(count + 1))
            for channel in np.moveaxis(image, 2, 0)
        ],
        1,
    )  # (count + 1, C)
    way = (medians - lung)[parts]
    return bright & (((image - lung) * way).sum(2) > edge * (way**2).sum(2))


def _connected(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Label the 8-connected parts of a mask; return the labels and their number."""
    return cast(tuple[np.ndarray, int], ndimage.label(mask, np.ones((3, 3))))


def smaller_parts(candidates: np.ndarray, max_side_px: int) -> np.ndarray:
    """Keep the candidates whose bounding box has no side above a limit.

    Args:
        candidates: Number of the candidate of each pixel, 0 outside.
        max_side_px: Largest side of a bounding box.

    Returns:
        The candidates that are kept, numbered from 1.

    Shape:
        - candidates, output: (H, W)
    """
    kept = np.zeros_like(candidates)
    number = 0
    for index, box in enumerate(ndimage.find_objects(candidates), 1):
        if max(side.stop - side.start for side in box) <= max_side_px:
            number += 1
            kept[box][candidates[box] == index] = number
    return kept
