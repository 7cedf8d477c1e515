"""Segmentation of the lungs."""

import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.segmentation import watershed

from .lung_check import lung_doubts
from .lung_regions import PADDING_HU, find_lungs
from .lung_sides import LEFT_LUNG, RIGHT_LUNG, left_right_lungs
from .volume import CTVolume

#: Zusag et al., Sec. 2.1.
LUNG_THRESHOLD_HU = -570.0

#: A radius in mm, which makes a disc in the slice, or pixels as a boolean array.
Footprint = float | np.ndarray

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
_SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class WatershedSteps:
    """Sizes of the steps of ``lung_mask(method='watershed')``.

    The paper counts in pixels of a size that it does not give. The defaults assume
    0.7 mm, which is usual for a chest. ``skimage.morphology.disk(10)`` is the paper's
    10 pixels in any scan.

    Args:
        intermediate: Radius around the air within which the border of the lung is
            searched: 10 px (Sec. 2.1).
        external: Radius around the air beyond which nothing is added: 35 px
            (Sec. 2.1).
        top_hat: Footprint that closes dents, half as wide as the widest nodule or
            vessel that is taken in at the border. Not given in the paper; 24 px in the
            notebook, see :func:`lung_mask`.
        closing: Footprint that smooths the result; 6 px in the notebook.
        gap_mm2: Largest hole in the slice of a lung, and largest dent at the chest
            wall, that is filled. Larger ones are the heart or the dome of the
            diaphragm. An addition to the paper.
        fill_between: Whether the space between the lungs may be filled, with the
            airways, instead of closing each lung by itself.
        outline_only: Whether the top-hat closes only the outline of the flooded
            region, to be added to the air, instead of the region.
    """

    intermediate: Footprint = 7.0
    external: Footprint = 24.5
    top_hat: Footprint = 16.8
    closing: Footprint = 4.2
    gap_mm2: float = 1500.0
    fill_between: bool = False
    outline_only: bool = False


def lung_mask(
    volume: CTVolume,
    method: str = 'threshold',
    threshold_hu: float = LUNG_THRESHOLD_HU,
    closing_mm: float = 5.0,
    opening_mm: float = 2.0,
    steps: WatershedSteps | None = None,
) -> np.ndarray:
    """Segment the lungs.

    Both methods start from the air of the lungs, which is decided in 3-D, see
    :func:`find_lungs`. They then work slice by slice:

    - ``'threshold'``, conservative: closing and opening by discs. Nodules and vessels
      wider than the closing stay out.
    - ``'watershed'``, refined: the gradient of the slice is flooded from the air
      (inside) and from everything that is farther from it than the intermediate radius
      (outside, like the space that is that near to both lungs). Dents of the flooded
      region are closed (the region with its black top-hat), then small gaps and holes.
      Tissue at the pleura, fungus balls and vessels are inside; the heart and the space
      between the lungs are not.

    Source: Zusag et al., SAPSAM, Sec. 2.1. Differs from it in: components in 3-D,
    sizes in mm, separate lungs, and dents at the chest wall. That the paper's external
    marker ends at 35 px does not change the flooding, because the space beyond it is
    outside as well; here this radius limits the later steps. With ``fill_between``,
    ``outline_only`` and the footprints of the public notebook that the paper's method
    resembles ("improved lung segmentation using watershed", Kaggle, Data Science Bowl
    2017), the result equals that notebook's bit for bit; see
    ``benchmarks/lung_mask.py``.

    The field of view may cut the lungs on any side, as a rectangle or as a circle with
    padding below -1500 HU; the mask then reaches its edge. One lung alone is found as
    well. The result does not depend on the order of the slices (``volume.direction``
    tells it), on the size of the voxels, or on a supine or prone position. Slices
    without lung stay empty.

    Warns with a :class:`UserWarning` that names the reasons if the result is doubtful;
    see :func:`lung_doubts`.

    Args:
        volume: Axial slices in HU.
        method: ``'threshold'`` or ``'watershed'``.
        threshold_hu: Upper limit of air.
        closing_mm: Radius of the closing of ``'threshold'``. An addition to the paper.
        opening_mm: Radius of the opening of ``'threshold'``. An addition to the paper.
        steps: Sizes of the steps of ``'watershed'``.

    Shape:
        - output: (D, H, W)

    Returns:
        Boolean mask.

    Raises:
        ValueError: If the method is unknown, a size is negative, slices are not axial,
            values are not in HU, or the scan shows no lungs.
    """
    if method not in ('threshold', 'watershed'):
        raise ValueError(
            f"method must be 'threshold' or 'watershed', but is {method!r}"
        )
    pixel_mm = volume.spacing_mm[1:]
    if method == 'threshold':
        closing = _kernel(closing_mm, pixel_mm, 'closing_mm')
        opening = _kernel(opening_mm, pixel_mm, 'opening_mm')
        lungs, airways = find_lungs(volume, threshold_hu)
        for lung, airway in zip(lungs, airways):
            mask = _morphology(_close(lung, closing), cv2.MORPH_OPEN, opening)
            lung[:] = mask & ~airway
    else:
        refine = _Refinement(steps or WatershedSteps(), pixel_mm)
        lungs, airways = find_lungs(volume, threshold_hu)
        sides = None if refine.fill_between else left_right_lungs(lungs, volume)
        for number, lung in enumerate(lungs):
            if lung.any():
                parts = [lung]
                if sides is not None:
                    parts = [sides[number] == LEFT_LUNG, sides[number] == RIGHT_LUNG]
                slice_hu = volume.array[number].astype(np.float32, copy=False)
                lung[:] = refine(slice_hu, parts, airways[number])
        del sides  # saves memory
    if lungs.any():
        doubts = lung_doubts(lungs, volume, bool(airways.any()))
        if doubts:
            warnings.warn(
                f'the lung mask is doubtful: {"; ".join(doubts)}', stacklevel=2
            )
    return lungs


class _Refinement:
    """Refinement of the air of single slices."""

    def __init__(self, steps: WatershedSteps, pixel_mm: tuple[float, float]) -> None:
        self.intermediate, self.external, self.top_hat, self.closing = (
            _kernel(getattr(steps, name), pixel_mm, name)
            for name in ('intermediate', 'external', 'top_hat', 'closing')
        )
        self.gap_px = steps.gap_mm2 / (pixel_mm[0] * pixel_mm[1])
        self.fill_between = steps.fill_between
        self.outline_only = steps.outline_only

    def __call__(
        self, slice_hu: np.ndarray, lungs: list[np.ndarray], airway: np.ndarray
    ) -> np.ndarray:
        """Refine the air of the lungs, each (H, W), to one mask."""
        air = np.logical_or.reduce(lungs)
        near = [
            _morphology(lung, cv2.MORPH_DILATE, self.intermediate) for lung in lungs
        ]
        reach = np.logical_or.reduce(near)
        if len(lungs) > 1:
            reach &= ~np.logical_and.reduce(near)  # near to both: between the lungs
        flooded = _flood(_gradient(slice_hu), air, reach)
        regions = []
        for lung, surroundings in zip(lungs, near):
            region = (flooded & surroundings & ~air) | lung
            if self.outline_only:
                region = _morphology(region, cv2.MORPH_GRADIENT, _SQUARE)
            region = _close(region, self.top_hat)
            regions.append(region | _holes(region, self.gap_px))
        mask = np.logical_or.reduce(
            [air, *regions, _dents(regions, self.closing, self.gap_px)]
        )
        mask = _close(mask, self.closing)
        if not self.fill_between:
            mask &= ~airway
        mask &= _morphology(air, cv2.MORPH_DILATE, self.external)
        return mask & (slice_hu >= PADDING_HU)


def _kernel(
    footprint: Footprint, pixel_mm: tuple[float, float], name: str
) -> np.ndarray:
    """(h, w) uint8 with odd sides."""
    if isinstance(footprint, np.ndarray):
        if footprint.ndim != 2 or not all(side % 2 for side in footprint.shape):
            raise ValueError(
                f'{name} must have two odd sides as an array of pixels, '
                f'but has shape {footprint.shape}'
            )
        return (footprint != 0).astype(np.uint8)
    if not 0 <= footprint < np.inf:
        raise ValueError(f'{name} must be a radius of 0 mm or more, but is {footprint}')
    half = [int(footprint / one + 1e-6) for one in pixel_mm]
    y, x = (np.arange(-count, count + 1) * one for count, one in zip(half, pixel_mm))
    return (np.hypot(y[:, None], x) <= footprint + 1e-6).astype(np.uint8)


def _morphology(mask: np.ndarray, step: int, kernel: np.ndarray) -> np.ndarray:
    """Boolean morphology; the outside of the slice neither adds nor removes."""
    return cv2.morphologyEx(mask.view(np.uint8), step, kernel).view(bool)


def _close(mask: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Closing of the slice padded with zeros; contains the mask."""
    y, x = (side // 2 for side in kernel.shape)
    wide = cv2.copyMakeBorder(mask.view(np.uint8), y, y, x, x, cv2.BORDER_CONSTANT)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, kernel)
    return closed[y : y + mask.shape[0], x : x + mask.shape[1]].view(bool)


def _gradient(slice_hu: np.ndarray) -> np.ndarray:
    """(H, W) magnitude of the Sobel gradient, up to 255."""
    dx, dy = (
        cv2.Sobel(slice_hu, cv2.CV_32F, *order, borderType=cv2.BORDER_REFLECT)
        for order in ((1, 0), (0, 1))
    )
    gradient = np.hypot(dx, dy)
    # Keeps the order of values, and makes the notebook's ties by rounding
    gradient *= 255 / max(gradient.max(), 1)
    return gradient


def _flood(relief: np.ndarray, air: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """(H, W) watershed from the air against everything out of reach."""
    unknown = reach & ~air
    if not unknown.any():
        return air
    # Pixels inside of the markers need no flooding and would take most of the time
    rim = _morphology(unknown, cv2.MORPH_DILATE, _CROSS)
    markers = np.where(air, 1, 2) * (rim & ~unknown)
    return air | (watershed(relief, markers, mask=rim) == 1)


def _holes(mask: np.ndarray, largest_px: float) -> np.ndarray:
    """(H, W) holes up to a size; background at the slice's edge is no hole."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        (~mask).view(np.uint8), connectivity=4
    )
    left, top, width, height, area = stats.T
    inside = (
        (left > 0)
        & (top > 0)
        & (left + width < mask.shape[1])
        & (top + height < mask.shape[0])
    )
    inside[0] = False  # the mask itself
    return (inside & (area <= largest_px))[labels]


def _dents(lungs: list[np.ndarray], wall: np.ndarray, largest_px: float) -> np.ndarray:
    """(H, W) background that convex lungs would cover at the chest wall.

    Thickened pleura makes dents wider than any closing may be that leaves the heart
    out. Lungs are convex at the wall, and a dent there opens to the outside of the
    convex hull of both lungs, eroded by ``wall``.
    """
    filled = np.zeros(lungs[0].shape, np.uint8)
    outlines = [
        cv2.findContours(
            lung.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )[0]
        for lung in lungs
    ]
    if len(lungs) < 2 or not all(outlines):
        return filled.view(
            bool
        )  # a single lung does not determine the place of the wall
    outlines = [outline for found in outlines for outline in found]
    inner = _morphology(
        _hull(np.concatenate(outlines), filled.shape), cv2.MORPH_ERODE, wall
    )
    for outline in outlines:
        if cv2.contourArea(outline) < largest_px:
            continue
        part = np.zeros_like(filled)
        cv2.drawContours(part, [outline], -1, 1, cv2.FILLED)
        hull = _hull(outline, filled.shape)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            hull.view(np.uint8) & ~part, connectivity=4
        )
        rim = labels * _morphology(~hull, cv2.MORPH_DILATE, _CROSS)
        opening = np.bincount(rim.ravel(), minlength=count)
        to_inside = np.bincount(rim[inner], minlength=count)
        dent = (to_inside <= 0.2 * opening) & (stats[:, cv2.CC_STAT_AREA] <= largest_px)
        dent[0] = False  # the lung itself
        filled |= dent[labels]
    return filled.view(bool)


def _hull(outline: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) convex hull of points."""
    return cv2.fillConvexPoly(
        np.zeros(shape, np.uint8), cv2.convexHull(outline), 1
    ).view(bool)
