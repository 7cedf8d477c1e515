import numpy as np
from scipy import ndimage

from .icm import segment_phases


def nodule_candidates(
    image: np.ndarray,
    scope: np.ndarray,
    means: np.ndarray,
    smoothness: float,
    min_pixels: int = 4,
) -> np.ndarray:
    """Candidates for a nodule inside a scope: the coarse segmentation.

    The scope's bounding box is divided into phases; connected parts, inside the
    scope, of all phases brighter than the darkest (lung) are found. With
    :func:`phase_means` the second phase is ground glass, but also the partial volume
    around what is solid: of each part, pixels nearer to lung than to the part's own
    median are taken off, which puts its edge half-way between the two. What stays
    connected is a candidate.

    A vessel or the chest wall that reaches into the scope is a candidate too, cut
    off where the scope ends; a nodule that touches it shares its candidate.

    Source: Feng et al., arXiv 1707.01086, Sec. 2.2, "Coarse Segmentation". Which
    phases make candidates, and where their edge is, is ours.

    Args:
        image: HU (or any other intensities), (H, W) or (H, W, C).
        scope: (H, W) bool; may touch the border.
        means: Of the phases, darkest first, as :func:`phase_means` gives them.
        smoothness: As :func:`segment_phases`, in squared units of the image.
        min_pixels: Smaller parts are noise, and left out.

    Returns:
        Int64 (H, W): 0 outside of candidates, their number inside, the largest
        candidate 1. All zero if there is none.

    Raises:
        ValueError: The scope is empty or of another size than the image.
    """
    scope = np.asarray(scope, bool)
    if scope.shape != np.shape(image)[:2]:
        raise ValueError(
            f'the scope has shape {scope.shape} and the image '
            f'{np.shape(image)[:2]}: one size was expected.'
        )
    if not scope.any():
        raise ValueError(
            'the scope is empty: there is no place to look for candidates.'
        )
    box = ndimage.find_objects(scope.astype(int))[0]
    image = np.asarray(image, float)[box]
    bright = (segment_phases(image, means, smoothness) > 0) & scope[box]
    parts, _ = _connected(_without_partial_volume(image, bright, means[0]))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    order = np.argsort(-sizes, kind='stable')
    kept = order[sizes[order] >= max(min_pixels, 1)]
    number = np.zeros_like(sizes)
    number[kept] = np.arange(1, len(kept) + 1)
    candidates = np.zeros(scope.shape, int)
    candidates[box] = number[parts]
    return candidates


def _without_partial_volume(image, bright, lung):
    """Pixels of each bright part that are nearer to its median than to lung."""
    parts, count = _connected(bright)
    image = np.atleast_3d(image)  # (H, W, C)
    medians = np.stack(
        [
            ndimage.median(channel, parts, np.arange(count + 1))
            for channel in np.moveaxis(image, 2, 0)
        ],
        1,
    )  # (count + 1, C)
    return bright & (
        ((image - medians[parts]) ** 2).sum(2) < ((image - lung) ** 2).sum(2)
    )


def _connected(mask):
    return ndimage.label(mask, np.ones((3, 3)))
