"""Where the lungs are in a scan: air inside the body, linked from slice to slice."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .volume import CTVolume

#: What lies below is no measurement but what scanners write outside of their circular
#: field of view (-2000, -3024); noise in air stays above.
PADDING_HU = -1500
_BODY_HU = -500  # between lung with its vessels and fat
_TABLE_MM = 3.0  # the shells of a table are thinner than twice this
_EMPHYSEMA_HU = -950  # "LAA-950": below it, lung has lost its tissue
_GAS_SHARE = 0.8  # of voxels below that, more than the worst emphysema has
_LUNG_MM2 = 1000.0  # a lung reaches that in some slice, a sinus does not
_LUNG_SHARE = 0.1  # of the larger lung's volume; gas in the bowels has less
_POCKET_MM3 = 500.0  # smallest cavity that is kept beside the lungs
_AIRWAY_MM2 = 900.0  # largest cross-section, at the fork of the trachea
_AIRWAY_WIDTH_MM = 50.0  # there too
_AIRWAY_OFFSET = 0.3  # from the middle of the body, as a share of its half width
_AIRWAY_MM = 20.0  # least length


def find_lungs(volume: CTVolume, threshold_hu: float) -> tuple[np.ndarray, np.ndarray]:
    """Find the air of the lungs and, apart from it, of the large airways.

    Air is what lies between :data:`PADDING_HU` and the threshold. In each slice it
    falls into regions (4 neighbours); those within the convex outline of the body are
    linked where they overlap in neighbouring slices, which makes components in 3-D
    with no more than a byte for a voxel. Then

    - small round regions in the body's middle that follow each other to the top of the
      lungs are trachea and main bronchi, down to where they enter the lungs;
    - the largest other component and those of at least a tenth of its volume are lungs,
      unless nearly all of them is as empty as gas;
    - a smaller one is kept where most of it lies above lung (a cavity; gas of
      stomach and bowels has no lung beneath it).

    The field of view may cut through the lungs: nothing is asked of the image's border,
    as long as most of a lung lies within the convex hull of what is seen of the body.

    Args:
        volume (CTVolume): Axial slices in HU.
        threshold_hu (float): Air is below it.

    Returns:
        tuple[np.ndarray]: Boolean (D, H, W): lungs without their vessels, and airways.

    Raises:
        ValueError: If slices are not axial, values not in HU, or there are no lungs.
    """
    _check(volume, threshold_hu)
    regions = _regions(volume, threshold_hu)
    to_head = volume.direction[2, 2] > 0
    airway = _airways(regions, volume, to_head)
    lung = _lungs(regions, volume, ~airway)
    lungs = regions.paint(lung, volume.shape)
    lung |= _cavities(regions, lungs, ~(lung | airway), volume, to_head)
    return regions.paint(lung, volume.shape), regions.paint(airway, volume.shape)


@dataclass
class _Regions:
    """Connected air of single slices inside of the body, numbered through."""

    labels: list[np.ndarray]  # each (H, W), 0 or 1 + number in its slice
    first: np.ndarray  # (D + 1,) number of the first region of each slice
    area: np.ndarray  # (N,) voxels
    gas: np.ndarray  # (N,) voxels as empty as gas
    sides: np.ndarray  # (N, 2) height and width in voxels
    offset: np.ndarray  # (N,) from the body's middle in x, in half widths
    links: np.ndarray  # (L, 2) regions that overlap in neighbouring slices

    def __len__(self) -> int:
        return len(self.area)

    @property
    def slices(self) -> np.ndarray:
        """(N,) slice of each region."""
        return np.repeat(np.arange(len(self.labels)), np.diff(self.first))

    def components(self, chosen: np.ndarray) -> np.ndarray:
        """(N,) component of each region through links of chosen ones only."""
        links = self.links[chosen[self.links].all(1)]
        graph = coo_matrix(
            (np.ones(len(links), bool), tuple(links.T)), shape=(len(self),) * 2
        )
        return connected_components(graph, directed=False)[1]

    def of_slice(self, number: int, values: np.ndarray) -> np.ndarray:
        """(H, W) each pixel's value of its region, 0 outside of regions."""
        own = values[self.first[number] : self.first[number + 1]]
        return np.concatenate([np.zeros(1, values.dtype), own])[self.labels[number]]

    def paint(self, chosen: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """(D, H, W) where the chosen regions are."""
        mask = np.empty(shape, bool)
        for number in range(shape[0]):
            mask[number] = self.of_slice(number, chosen)
        return mask


def _check(volume: CTVolume, threshold_hu: float) -> None:
    if abs(volume.direction[2, 2]) < 0.7:
        raise ValueError(
            'the lung mask needs axial slices, but the slices follow each other along '
            f'{np.round(volume.direction[:, 2], 3).tolist()} (x, y, z) instead of z; '
            'read_volume turns scans so'
        )
    lowest, air = np.inf, False
    for slice_hu in volume.array:
        if not np.isfinite(slice_hu).all():
            raise ValueError('the scan holds values that are no numbers; expected HU')
        measured = slice_hu[slice_hu >= PADDING_HU]
        if measured.size:
            lowest = min(lowest, measured.min())
            air = air or lowest < threshold_hu
    if not air:
        raise ValueError(
            f'the scan holds no air: its lowest value is {lowest:g}, expected HU below '
            f'{threshold_hu:g} (are these stored values, without the rescale '
            'intercept?)'
        )


def _regions(volume: CTVolume, threshold_hu: float) -> _Regions:
    labels, tables, links, first = [], [], [], [0]
    for slice_hu in volume.array:
        own, table = _slice_regions(slice_hu, threshold_hu, volume.spacing_mm)
        if labels:
            links.append(_overlaps(labels[-1], own, first[-2:]))
        labels.append(own)
        tables.append(table)
        first.append(first[-1] + len(table))
    table = np.concatenate(tables)
    return _Regions(
        labels,
        np.array(first),
        table[:, 0],
        table[:, 1],
        table[:, 2:4],
        table[:, 4],
        np.concatenate(links or [np.zeros((0, 2), int)]),
    )


def _slice_regions(slice_hu, threshold_hu, spacing_mm):
    """Labels (H, W) and rows (area, gas, height, width, offset) of one slice."""
    air = (slice_hu < threshold_hu) & (slice_hu >= PADDING_HU)
    count, labels, stats, centres = cv2.connectedComponentsWithStats(
        air.view(np.uint8), connectivity=4
    )
    body = _body_hull(slice_hu, spacing_mm)
    columns = np.flatnonzero(body.any(0))
    if count == 1 or not columns.size:
        return np.zeros(slice_hu.shape, np.uint8), np.zeros((0, 5))
    area = stats[:, cv2.CC_STAT_AREA]
    inside = np.bincount(labels[body], minlength=count)
    kept = inside >= 0.5 * area
    kept[0] = False  # what is no air
    numbers = np.zeros(count, np.min_scalar_type(kept.sum()))
    numbers[kept] = np.arange(1, kept.sum() + 1)
    gas = np.bincount(labels[body & (slice_hu < _EMPHYSEMA_HU)], minlength=count)
    middle, half = columns.mean(), len(columns) / 2
    table = np.column_stack(
        [
            area,
            gas,
            stats[:, cv2.CC_STAT_HEIGHT],
            stats[:, cv2.CC_STAT_WIDTH],
            (centres[:, 0] - middle) / half,
        ]
    )
    return numbers[labels], table[kept]


def _body_hull(slice_hu: np.ndarray, spacing_mm) -> np.ndarray:
    """(H, W) the convex hull of the largest thing that is no air, without a table."""
    body = (slice_hu > _BODY_HU).view(np.uint8)
    size = [2 * int(_TABLE_MM / one) + 1 for one in spacing_mm[:0:-1]]
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, size)
    body = cv2.morphologyEx(body, cv2.MORPH_OPEN, kernel)
    outlines, _ = cv2.findContours(body, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = np.zeros(body.shape, np.uint8)
    if outlines:
        largest = max(outlines, key=cv2.contourArea)
        cv2.fillConvexPoly(hull, cv2.convexHull(largest), 1)
    return hull.view(bool)


def _overlaps(before: np.ndarray, after: np.ndarray, first: list[int]) -> np.ndarray:
    """(L, 2) pairs of regions of two neighbouring slices that share pixels."""
    both = (before > 0) & (after > 0)
    pairs = np.unique((before[both].astype(np.int64) << 32) + after[both])
    return np.column_stack(
        [first[0] + (pairs >> 32) - 1, first[1] + (pairs & 0xFFFFFFFF) - 1]
    )


def _airways(regions: _Regions, volume: CTVolume, to_head: bool) -> np.ndarray:
    """(N,) which regions are trachea or main bronchi."""
    if not len(regions):
        return np.zeros(0, bool)
    step_mm, *pixel_mm = volume.spacing_mm
    area_mm2 = regions.area * np.prod(pixel_mm)
    sides_mm = regions.sides * pixel_mm
    small = (
        (area_mm2 <= _AIRWAY_MM2)
        & (sides_mm.max(1) <= _AIRWAY_WIDTH_MM)
        & (regions.area >= 0.5 * regions.sides.prod(1))
        & (np.abs(regions.offset) <= _AIRWAY_OFFSET)
    )
    chain = regions.components(small)
    depth = len(regions.labels)
    height = regions.slices if to_head else depth - 1 - regions.slices
    # Nearly all air lies below the top of the lungs, whatever else a neck or head holds
    order = np.argsort(height, kind='stable')
    amount = np.cumsum(regions.area[order])
    top = height[order[np.searchsorted(amount, 0.95 * amount[-1])]]
    highest = np.full(chain.max() + 1, -1)
    lowest = np.full(chain.max() + 1, depth)
    np.maximum.at(highest, chain, height)
    np.minimum.at(lowest, chain, height)
    long = (highest - lowest + 1) * step_mm >= min(_AIRWAY_MM, depth * step_mm)
    return small & (long & (highest >= top))[chain]


def _lungs(regions: _Regions, volume: CTVolume, candidates: np.ndarray) -> np.ndarray:
    """(N,) which regions are lung."""
    component = regions.components(candidates)
    size = np.bincount(component, regions.area * candidates)
    gas = np.bincount(component, regions.gas * candidates)
    size[gas >= _GAS_SHARE * size] = 0
    largest = size.argmax() if size.size else 0
    reach = regions.area[candidates & (component == largest)].max(initial=0)
    if not size.any() or reach * np.prod(volume.spacing_mm[1:]) < _LUNG_MM2:
        raise ValueError(
            'the scan shows no lungs: no air within the body reaches '
            f'{_LUNG_MM2 / 100:g} cm2 in a slice'
        )
    return candidates & (size >= _LUNG_SHARE * size[largest])[component]


def _cavities(
    regions: _Regions,
    lungs: np.ndarray,
    candidates: np.ndarray,
    volume: CTVolume,
    to_head: bool,
) -> np.ndarray:
    """(N,) which other regions are cavities: air that mostly lies above lung."""
    component = regions.components(candidates)
    size = np.bincount(component, regions.area * candidates)
    above = np.zeros(len(regions))
    beneath = np.zeros(volume.shape[1:], bool)
    numbers = range(volume.shape[0])
    for number in numbers if to_head else reversed(numbers):
        own = regions.labels[number]
        count = np.bincount(own[beneath], minlength=own.max() + 1)[1:]
        above[regions.first[number] : regions.first[number] + len(count)] = count
        beneath |= lungs[number]
    above = np.bincount(component, above * candidates)
    large = size * np.prod(volume.spacing_mm) >= _POCKET_MM3
    return candidates & (large & (above >= 0.5 * size))[component]
