"""Refinement of the mask of a chosen candidate."""

import cv2
import numpy as np
from scipy import ndimage
from skimage.segmentation import random_walker

#: Names of the refinements of :func:`refine_candidate`.
REFINEMENTS = ('opening', 'random_walker')


def refine_candidate(image: np.ndarray, mask: np.ndarray, method: str) -> np.ndarray:
    """Separate a nodule from the vessels and the wall that its candidate contains.

    ``'opening'`` removes all parts of the candidate that are thinner than half of its
    largest inscribed disc, and keeps the part around the center of that disc.
    ``'random_walker'`` (Grady, TPAMI 2006; scikit-image) starts a random walk at every
    pixel around the candidate and keeps the pixels from which the walk reaches the
    core of the inscribed disc before the background. The core has half of the radius
    of the disc. Background is what lies more than two pixels outside of the
    candidate, or farther from the core than twice the radius.

    Args:
        image: Intensities.
        mask: The candidate.
        method: ``'opening'`` or ``'random_walker'``.

    Returns:
        Refined mask, a part of the candidate enlarged by two pixels. The candidate
        itself, if it is empty or too small to be refined.

    Shape:
        - image: (H, W)
        - mask, output: (H, W) bool

    Raises:
        ValueError: If the method is unknown.
    """
    if method not in REFINEMENTS:
        raise ValueError(
            f'method must be one of {", ".join(REFINEMENTS)}, got {method!r}.'
        )
    mask = np.asarray(mask, bool)
    if not mask.any():
        return mask
    depth = np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1)))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), mask.shape)
    center, radius = (int(row), int(column)), float(depth[row, column])
    if method == 'opening':
        return _opened(mask, center, round(radius / 2))
    return _walked(image, mask, center, radius) if radius >= 2 else mask


def _opened(mask: np.ndarray, center: tuple[int, int], radius: int) -> np.ndarray:
    if radius < 1:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    padded = np.pad(mask, radius).astype(np.uint8)
    opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, disc)
    _, parts = cv2.connectedComponents(opened, connectivity=8)
    parts = np.asarray(parts)[radius:-radius, radius:-radius]
    return (parts == parts[center]) if parts[center] else mask


def _walked(
    image: np.ndarray, mask: np.ndarray, center: tuple[int, int], radius: float
) -> np.ndarray:
    apart = np.asarray(ndimage.distance_transform_edt(~mask))
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    distance = np.hypot(rows - center[0], columns - center[1])
    seeds = np.where((apart > 2) | (distance > 2 * radius + 2), 2, 0)
    seeds[mask & (distance <= radius / 2)] = 1
    places = np.argwhere(seeds != 2)
    first = np.maximum(places.min(0) - 2, 0)
    box = tuple(slice(a, b) for a, b in zip(first, places.max(0) + 3))
    values = np.asarray(image, float)[box]
    spread = np.ptp(values)
    if not (seeds[box] == 2).any() or spread == 0:
        return mask
    refined = np.zeros(mask.shape, bool)
    labels = random_walker((values - values.min()) / spread, seeds[box], 500, 'bf')
    refined[box] = labels == 1
    return refined
