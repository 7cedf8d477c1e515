"""Detection of lungs and large airways as connected air in 3-D."""

import cv2
import numpy as np

from .air_regions import CROSS, LEAST_CORE, PADDING_HU, WALL_MM, AirRegions, air_regions
from .volume import CTVolume

_GAS_MM3 = 1_500_000.0  # a larger volume is emphysema, not bowel gas
_EMPTY_SHARE = (
    0.4  # minimum fraction of such pixels where that air touches the image's edge
)
_WALL_SHARE = 0.4  # minimum fraction of a lung's surface with such a wall
_BEYOND_SHARE = 0.5  # maximum fraction of a lung in rows of a slice without tissue
_LUNG_MM2 = 1000.0  # a lung has this area in at least one slice, a sinus does not
_LUNG_MM3 = 50_000.0  # minimum volume of lungs that the field of view does not cut
_LUNG_SHARE = 0.1  # minimum volume of the second lung, relative to the larger lung
_CUT_SHARE = 0.01  # the same for a part of a lung at the edge of the field of view
_POCKET_MM3 = 500.0  # minimum volume of a cavity that is kept next to the lungs
_AIRWAY_MM2 = 900.0  # maximum cross-section of an airway, at the carina
_AIRWAY_WIDTH_MM = 50.0  # maximum width of an airway, at the carina
_AIRWAY_OFFSET = 0.3  # maximum distance from the body's midline, in half widths
_AIRWAY_HU = -880.0  # maximum mean of an airway if the body's midline is unknown,
_TUBE_HU = -750.0  # or this mean for an airway of at least
_TUBE_MM = 35.0  # this length
_AIRWAY_MM = 20.0  # minimum length of an airway


class NoLungsError(ValueError):
    """A scan shows no lungs."""


def find_lungs(volume: CTVolume, threshold_hu: float) -> tuple[np.ndarray, np.ndarray]:
    """Find the air of the lungs and the air of the large airways.

    Air is every voxel between :data:`PADDING_HU` and the threshold. In each slice, air
    is divided into 4-connected regions. Regions that overlap in neighboring slices are
    linked, which gives 3-D components with at most two bytes per voxel. Components are
    classified by measurements that do not need the whole body in the field of view:

    - Air around the patient is free gas, or air whose pixels at the edge of the slices
      mostly have the density of gas. Foam of a table or cushion has little thick tissue
      around it, or is beyond all tissue of a slice.
    - Trachea and main bronchi are small round regions near the midline that continue up
      to the top of the lungs. If the field of view cuts the body, the midline is
      unknown, and the regions must have the density of gas instead.
    - Gas of stomach and bowels, and of the paranasal sinuses, is uniform and has a
      lower density than lung. It is never linked to lung above it.
    - Of the other components, the largest and those of at least a tenth of its volume
      are lungs. Smaller components are lungs if the edge of the field of view cuts
      them.
    - A smaller component is kept if most of it is above lung (a cavity).

    Args:
        volume: Axial slices in HU.
        threshold_hu: Upper limit of air.

    Shape:
        - output: two arrays (D, H, W)

    Returns:
        Boolean masks of the lungs without their vessels, and of the airways.

    Raises:
        ValueError: If slices are not axial, values are not in HU, or the scan contains
            no lungs (:class:`NoLungsError`).
    """
    _check(volume, threshold_hu)
    regions = air_regions(volume, threshold_hu)
    to_head = bool(volume.direction[2, 2] > 0)
    outside = _outside(regions)
    outside |= _bedding(regions, outside)
    airway = _airways(regions, volume, to_head, ~outside)
    lung = _lungs(regions, volume, to_head, ~(airway | outside))
    lungs = regions.paint(lung, volume.shape)
    rest = ~(lung | airway | outside)
    lung |= _cavities(regions, lungs, rest, volume, to_head)
    del lungs  # save memory
    return regions.paint(lung, volume.shape), regions.paint(airway, volume.shape)


def _check(volume: CTVolume, threshold_hu: float) -> None:
    if abs(volume.direction[2, 2]) < 0.7:
        raise ValueError(
            'the lung mask needs axial slices, but the slices follow each other along '
            f'{np.round(volume.direction[:, 2], 3).tolist()} (x, y, z) instead of z; '
            'read_volume turns scans so'
        )
    lowest, highest = np.inf, -np.inf
    for slice_hu in volume.array:
        if not np.isfinite(slice_hu).all():
            raise ValueError('the scan contains NaN or infinite values; expected HU')
        measured = slice_hu[slice_hu >= PADDING_HU]
        if measured.size:
            lowest = min(lowest, measured.min())
            highest = max(highest, measured.max())
    if lowest >= threshold_hu:
        raise NoLungsError(
            f'the scan holds no air: its lowest value is {lowest:g}, expected HU below '
            f'{threshold_hu:g} (are these stored values, without the rescale '
            'intercept?)'
        )
    if highest < threshold_hu:
        raise NoLungsError(
            f'the scan holds nothing but air: its highest value is {highest:g} HU, so '
            'it shows no lungs'
        )


def _outside(regions: AirRegions) -> np.ndarray:
    """Return which regions are air around the patient, (N,)."""
    table = regions.table
    at_edge = table['edge'] > 0
    component = regions.components(at_edge)
    core, edge, empty = (
        np.bincount(component, table[name] * at_edge)
        for name in ('core', 'edge', 'edge_empty')
    )
    # A sliver in a corner that is too small to measure is not lung either.
    outside = (empty > _EMPTY_SHARE * edge) | (core < LEAST_CORE)
    outside |= regions.is_gas(component, at_edge)
    return at_edge & outside[component]


def _bedding(regions: AirRegions, outside: np.ndarray) -> np.ndarray:
    """Return which other regions are foam of the table, cushions or cloth, (N,).

    Such air has little thick tissue around it, or is in rows beyond a body that spans
    the slice.
    """
    inside = ~outside
    component = regions.components(inside)
    walled, surface, beyond, amount = np.zeros((4, component.max(initial=0) + 1))
    square = np.ones((5, 5), np.uint8)
    for number, thick in enumerate(regions.thick):
        around = regions.of_slice(number, outside, coarse=True)
        own = regions.of_slice(number, inside * (component + 1), coarse=True)
        if not own.any():
            continue
        if thick.any(0).mean() > 0.5:
            amount += np.bincount(own.ravel(), minlength=len(amount) + 1)[1:]
            free = own[~thick.any(1)].ravel()
            beyond += np.bincount(free, minlength=len(amount) + 1)[1:]
        # Fill vessels, which are not part of the surface.
        filled = cv2.morphologyEx((own > 0).view(np.uint8), cv2.MORPH_CLOSE, square)
        ring = (cv2.dilate(filled, CROSS) > filled) & ~around
        nearest = cv2.dilate(own.astype(np.float32), square)[ring].astype(int)
        wall = thick[ring]
        if around.any():
            far = cv2.distanceTransform((~around).view(np.uint8), cv2.DIST_L2, 3)[ring]
            wall = wall & (far * min(regions.coarse_mm) > WALL_MM)
        surface += np.bincount(nearest, minlength=len(amount) + 1)[1:]
        walled += np.bincount(nearest[wall], minlength=len(amount) + 1)[1:]
    foam = (walled < _WALL_SHARE * surface) | (beyond > _BEYOND_SHARE * amount)
    return inside & foam[component]


def _airways(
    regions: AirRegions, volume: CTVolume, to_head: bool, candidates: np.ndarray
) -> np.ndarray:
    """Return which of the candidates are trachea or main bronchi, (N,)."""
    if not candidates.any():
        return np.zeros(len(regions), bool)
    table = regions.table
    step_mm, *pixel_mm = volume.spacing_mm
    sides = np.column_stack([table['height'], table['width']])
    lateral = np.bincount(regions.slices, table['lateral'] * candidates)
    cut = np.isnan(table['offset']) | (lateral > 0)[regions.slices]
    central = np.abs(np.where(cut, np.inf, table['offset'])) <= _AIRWAY_OFFSET
    small = (
        candidates
        & (table['area'] * np.prod(pixel_mm) <= _AIRWAY_MM2)
        & ((sides * pixel_mm).max(1) <= _AIRWAY_WIDTH_MM)
        & (table['area'] >= 0.5 * sides.prod(1))
        & (central | (cut & (table['mean_hu'] < _TUBE_HU) & (table['edge'] == 0)))
    )
    chain = regions.components(small)
    depth = len(regions.labels)
    height = regions.slices if to_head else depth - 1 - regions.slices
    # Nearly all air is below the top of the lungs, even in scans of neck and head.
    order = np.argsort(height, kind='stable')
    amount = np.cumsum((table['area'] * candidates)[order])
    top = height[order[np.searchsorted(amount, 0.95 * amount[-1])]]
    highest = np.full(chain.max() + 1, -1)
    lowest = np.full(chain.max() + 1, depth)
    np.maximum.at(highest, chain, height)
    np.minimum.at(lowest, chain, height)
    length_mm = (highest - lowest + 1) * step_mm
    long = length_mm >= min(_AIRWAY_MM, depth * step_mm)
    # The apex of a lung is a similar but shorter chain off the midline.
    doubtful = small & ~central & (table['mean_hu'] >= _AIRWAY_HU)
    long &= (np.bincount(chain, doubtful) == 0) | (length_mm >= _TUBE_MM)
    return small & (long & (highest >= top))[chain]


def _lungs(
    regions: AirRegions,
    volume: CTVolume,
    to_head: bool,
    candidates: np.ndarray,
) -> np.ndarray:
    """Return which of the candidates are lung, (N,)."""
    gas = regions.is_gas(np.arange(len(regions)), candidates)
    lower, upper = regions.links.T if to_head else regions.links.T[::-1]
    component = regions.components(candidates, gas[lower] & ~gas[upper])
    area = regions.table['area'] * candidates * np.prod(volume.spacing_mm[1:])
    size = np.bincount(component, area) * volume.spacing_mm[0]
    at_end = np.isin(regions.slices, (0, len(regions.labels) - 1))
    at_edge = candidates & (regions.table['edge'] > 0)
    edge = np.bincount(component, at_edge) > 0
    cut = edge | (np.bincount(component, candidates & at_end) > 0)
    size[regions.is_gas(component, candidates) & (edge | (size < _GAS_MM3))] = 0
    reach = np.zeros(len(size))
    np.maximum.at(reach, component, area)
    main = size * ((size >= _LUNG_MM3) | cut) * (reach >= _LUNG_MM2)
    if not main.any():
        raise NoLungsError(
            'the scan shows no lungs: no air within the body, other than free gas, '
            f'reaches {_LUNG_MM2 / 100:g} cm2 in a slice and {_LUNG_MM3 / 1000:g} ml'
        )
    share = size / main.max()
    kept = (share >= _LUNG_SHARE) | ((share >= _CUT_SHARE) & edge)
    return candidates & kept[component]


def _cavities(
    regions: AirRegions,
    lungs: np.ndarray,
    candidates: np.ndarray,
    volume: CTVolume,
    to_head: bool,
) -> np.ndarray:
    """Return which of the candidates are cavities, that is, mostly above lung, (N,)."""
    component = regions.components(candidates)
    area = regions.table['area'] * candidates
    size = np.bincount(component, area)
    above = np.zeros(len(regions))
    beneath = np.zeros(volume.shape[1:], bool)
    numbers = range(volume.shape[0])
    for number in numbers if to_head else reversed(numbers):
        own = regions.labels[number]
        first, last = regions.first[number : number + 2]
        above[first:last] = np.bincount(own[beneath], minlength=last - first + 1)[1:]
        beneath |= lungs[number]
    above = np.bincount(component, above * candidates)
    large = size * np.prod(volume.spacing_mm) >= _POCKET_MM3
    behind = size > 0
    return candidates & (large & behind & (above >= 0.5 * size))[component]
