"""Lung segmentation."""

import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.segmentation import watershed

from .lung_check import lung_doubts
from .lung_regions import PADDING_HU, find_lungs
from .lung_sides import LEFT_LUNG, RIGHT_LUNG, left_right_lungs
from .volume import CTVolume

#: Threshold of Zusag et al., Sec. 2.1.
LUNG_THRESHOLD_HU = -570.0

#: A radius in mm, which gives a disc in the slice, or a boolean array of pixels.
Footprint = float | np.ndarray

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
_SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class WatershedSteps:
    """Sizes of the steps of ``lung_mask(method='watershed')``.

    The paper states sizes in pixels but not the pixel size. The defaults assume 0.7 mm,
    which is common for chest CT. ``skimage.morphology.disk(10)`` gives the paper's
    10 pixels in any scan.

    Args:
        intermediate: Radius around the air in which the border of the lung is
            searched: 10 px (Sec. 2.1).
        external: Radius around the air beyond which nothing is added: 35 px
            (Sec. 2.1).
        top_hat: Footprint of the closing of dents. Its width is half the width of the
            largest nodule or vessel that is included at the border. Not specified in
            the paper; 24 px in the notebook, see :func:`lung_mask`.
        closing: Footprint that smooths the result; 6 px in the notebook.
        gap_mm2: Largest hole in a lung, and largest dent at the chest wall, that is
            filled in a slice. Larger ones are the heart or the dome of the
            diaphragm. An addition to the paper.
        fill_between: Whether the space between the lungs, including the airways, may be
            filled. Otherwise, each lung is closed separately.
        outline_only: Whether the top-hat closes only the outline of the flooded
            region, which is then added to the air, instead of the region.
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

    Both methods start from the air of the lungs, which is found in 3-D; see
    :func:`find_lungs`. They then work slice by slice:

    - ``'threshold'``, conservative: closing and opening by discs. Nodules and vessels
      wider than the closing are excluded.
    - ``'watershed'``, refined: the gradient of the slice is flooded from two markers.
      The inner marker is the air. The outer marker contains all pixels farther from the
      air than the intermediate radius, and the space within this radius of both lungs.
      Dents of the flooded region are closed (union of the region and its black
      top-hat), then small gaps and holes. Tissue at the pleura, fungus balls and
      vessels are included. The heart and the space between the lungs are excluded.

    Source: Zusag et al., SAPSAM, Sec. 2.1. Differs from it in: components in 3-D,
    sizes in mm, separate lungs, and dents at the chest wall. The end of the paper's
    external marker at 35 px does not change the flooding, because the space beyond it
    is outside as well. Here, this radius limits the later steps. With ``fill_between``,
    ``outline_only`` and the footprints of the public notebook that the paper's method
    resembles ("improved lung segmentation using watershed", Kaggle, Data Science Bowl
    2017), the result equals that notebook's bit for bit; see
    ``benchmarks/lung_mask.py``.

    The field of view may cut off the lungs on any side, as a rectangle or as a circle
    with padding below -1500 HU. The mask then extends to its edge. A single lung is
    found as well. The result does not depend on the order of the slices (given by
    ``volume.direction``), on the voxel size, or on a supine or prone position. Slices
    without lung have an empty mask.

    A :class:`UserWarning` with the reasons is issued if the result is doubtful;
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
            values are not in HU, or the scan contains no lungs.
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
        del sides  # save memory
    if lungs.any():
        doubts = lung_doubts(lungs, volume, bool(airways.any()))
        if doubts:
            warnings.warn(
                f'the lung mask is doubtful: {"; ".join(doubts)}', stacklevel=2
            )
    return lungs


class _Refinement:
    """Refinement of the lung air in single slices."""

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
            reach &= ~np.logical_and.reduce(near)  # close to both lungs: between them
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
    """Return the structuring element, (h, w) uint8 with odd sides."""
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
    """Apply boolean morphology; pixels outside the slice have no effect."""
    return cv2.morphologyEx(mask.view(np.uint8), step, kernel).view(bool)


def _close(mask: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Close the slice padded with zeros; the result contains the mask."""
    y, x = (side // 2 for side in kernel.shape)
    wide = cv2.copyMakeBorder(mask.view(np.uint8), y, y, x, x, cv2.BORDER_CONSTANT)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, kernel)
    return closed[y : y + mask.shape[0], x : x + mask.shape[1]].view(bool)


def _gradient(slice_hu: np.ndarray) -> np.ndarray:
    """Return the magnitude of the Sobel gradient, (H, W), up to 255."""
    dx, dy = (
        cv2.Sobel(slice_hu, cv2.CV_32F, *order, borderType=cv2.BORDER_REFLECT)
        for order in ((1, 0), (0, 1))
    )
    gradient = np.hypot(dx, dy)
    # The scaling keeps the order of values, and rounding gives the notebook's ties.
    gradient *= 255 / max(gradient.max(), 1)
    return gradient


def _flood(relief: np.ndarray, air: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return the watershed region (H, W) of the air against pixels out of reach."""
    unknown = reach & ~air
    if not unknown.any():
        return air
    # Pixels inside the markers need no flooding, and would take most of the time.
    rim = _morphology(unknown, cv2.MORPH_DILATE, _CROSS)
    markers = np.where(air, 1, 2) * (rim & ~unknown)
    return air | (watershed(relief, markers, mask=rim) == 1)


def _holes(mask: np.ndarray, largest_px: float) -> np.ndarray:
    """Return holes (H, W) up to a size; background at the edge is not a hole."""
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
    """Return background (H, W) that convex lungs would cover at the chest wall.

    Thickened pleura causes dents that are too wide for any closing that excludes the
    heart. Lungs are convex at the wall, and a dent at the wall is connected to the
    outside of the convex hull of both lungs, eroded by ``wall``.
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
        )  # the position of the wall cannot be determined from a single lung
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
    """Return the convex hull (H, W) of points."""
    return cv2.fillConvexPoly(
        np.zeros(shape, np.uint8), cv2.convexHull(outline), 1
    ).view(bool)
