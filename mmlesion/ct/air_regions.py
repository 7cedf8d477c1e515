"""Connected regions of air in the slices of a scan."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .volume import CTVolume

#: Voxels below this value are padding outside the circular field of view of the scanner
#: (-2000, -3024). Noise in air is above it.
PADDING_HU = -1500

#: Minimum number of coarse pixels inside a region for a reliable density.
LEAST_CORE = 4

#: Thickness of the wall around the lungs, which is larger nearly everywhere.
WALL_MM = 12.0

#: Structuring element of 4-connected neighbors.
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)

_GRID_MM = 2.5  # in-plane size of the coarse pixels on which density is measured
# Free gas has a mean below the first value and a standard deviation below the second.
_GAS_HU = ((-920.0, 38.0), (-950.0, 42.0), (-965.0, np.inf))
_EMPTY_HU = -960.0  # air around the patient is below this value, lung is above
_TISSUE_HU = -500.0  # between lung with its vessels and fat

#: Columns of the table of regions.
_COLUMNS = (
    'area',  # pixels
    'height',  # pixels
    'width',  # pixels
    'offset',  # from the midline of the body in half widths; NaN if the body is cut
    'lateral',  # pixels at the left and right edge of the slice
    'mean_hu',  # over all pixels
    'core',  # number of coarse pixels inside, without those at the surface
    'core_sum',  # sum of their HU
    'core_square',  # sum of their squared HU
    'edge',  # pixels at the edge of the slice
    'edge_empty',  # number of these pixels with the density of gas
)


@dataclass
class AirRegions:
    """Connected air regions of single slices, numbered through the scan.

    Attributes:
        labels: Per slice (H, W): 0, or 1 + number within the slice.
        coarse: Per slice (h, w): the same on the coarse grid.
        thick: Per slice (h, w): tissue that is not a thin shell.
        coarse_mm: Size (y, x) of the coarse pixels.
        first: (D + 1,) number of the first region of each slice.
        table: (N,) values for each column name; see :data:`_COLUMNS`.
        links: (L, 2) regions that overlap in neighboring slices, in slice order.
    """

    labels: list[np.ndarray]
    coarse: list[np.ndarray]
    thick: list[np.ndarray]
    coarse_mm: tuple[float, float]
    first: np.ndarray
    table: dict[str, np.ndarray]
    links: np.ndarray

    def __len__(self) -> int:
        return int(self.first[-1])

    @property
    def slices(self) -> np.ndarray:
        """Slice of each region, (N,)."""
        return np.repeat(np.arange(len(self.labels)), np.diff(self.first))

    def is_gas(self, component: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return whether the chosen regions of each component are free gas, (C,)."""
        core, total, square = (
            np.bincount(component, self.table[name] * chosen)
            for name in ('core', 'core_sum', 'core_square')
        )
        mean = total / np.maximum(core, 1)
        spread = np.sqrt(np.maximum(square / np.maximum(core, 1) - mean**2, 0))
        gas = [(mean < most) & (spread < wide) for most, wide in _GAS_HU]
        return (core >= LEAST_CORE) & np.logical_or.reduce(gas)

    def components(
        self, chosen: np.ndarray, without: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the component of each region from the links of chosen regions, (N,).

        Args:
            chosen: (N,) regions whose links are used.
            without: (L,) links to ignore.
        """
        used = chosen[self.links].all(1)
        if without is not None:
            used &= ~without
        links = self.links[used]
        graph = coo_matrix(
            (np.ones(len(links), bool), tuple(links.T)), shape=(len(self),) * 2
        )
        return connected_components(graph, directed=False)[1]

    def of_slice(
        self, number: int, values: np.ndarray, coarse: bool = False
    ) -> np.ndarray:
        """Return the value of each pixel's region, (H, W) or (h, w); 0 outside."""
        own = values[self.first[number] : self.first[number + 1]]
        labels = (self.coarse if coarse else self.labels)[number]
        return np.concatenate([np.zeros(1, values.dtype), own])[labels]

    def paint(self, chosen: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Return the mask of the chosen regions, (D, H, W)."""
        mask = np.empty(shape, bool)
        for number in range(shape[0]):
            mask[number] = self.of_slice(number, chosen)
        return mask


def air_regions(volume: CTVolume, threshold_hu: float) -> AirRegions:
    """Find the connected air of each slice, and the links between the slices.

    Args:
        volume: Axial slices in HU.
        threshold_hu: Upper limit of air.
    """
    _, row_mm, column_mm = volume.spacing_mm
    factors = max(1, round(_GRID_MM / row_mm)), max(1, round(_GRID_MM / column_mm))
    coarse_mm = factors[0] * row_mm, factors[1] * column_mm
    slices, links, first = [], [], [0]
    for slice_hu in volume.array:
        slices.append(_slice_regions(slice_hu, threshold_hu, factors, coarse_mm))
        if len(slices) > 1:
            links.append(_overlaps(slices[-2][0], slices[-1][0], first[-2:]))
        first.append(first[-1] + len(slices[-1][3]))
    labels, coarse, thick, tables = zip(*slices)
    return AirRegions(
        list(labels),
        list(coarse),
        list(thick),
        coarse_mm,
        np.array(first),
        dict(zip(_COLUMNS, np.concatenate(tables).T)),
        np.concatenate(links or [np.zeros((0, 2), int)]),
    )


def _slice_regions(
    slice_hu: np.ndarray,
    threshold_hu: float,
    factors: tuple[int, int],
    coarse_mm: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return labels (H, W), coarse labels and thick tissue (h, w), and table rows."""
    air = (slice_hu < threshold_hu) & (slice_hu >= PADDING_HU)
    count, labels, stats, centers = cv2.connectedComponentsWithStats(
        air.view(np.uint8), connectivity=4
    )
    labels = labels.astype(np.min_scalar_type(count))
    # Averaging over coarse pixels suppresses noise.
    small_hu, small = _coarse(slice_hu, labels, factors)
    size = [2 * round(0.3 * WALL_MM / mm) + 1 for mm in coarse_mm]
    tissue = (small_hu > _TISSUE_HU).view(np.uint8)
    thick = cv2.morphologyEx(tissue, cv2.MORPH_OPEN, np.ones(size, np.uint8))
    core = ((small_hu < threshold_hu) & (small > 0)).view(np.uint8)
    core = cv2.erode(core, CROSS).view(bool)
    values, owner = small_hu[core].astype(float), small[core]
    middle, half = _midline(thick, factors[1])
    lateral = labels[:, [0, -1]].ravel()
    edge = np.concatenate([lateral, labels[[0, -1], 1:-1].ravel()])
    edge_hu = np.concatenate(
        [slice_hu[:, [0, -1]].ravel(), slice_hu[[0, -1], 1:-1].ravel()]
    )
    area = stats[:, cv2.CC_STAT_AREA]
    columns = dict(
        area=area,
        height=stats[:, cv2.CC_STAT_HEIGHT],
        width=stats[:, cv2.CC_STAT_WIDTH],
        offset=(centers[:, 0] - middle) / half,
        lateral=np.bincount(lateral, minlength=count),
        mean_hu=np.bincount(labels.ravel(), slice_hu.ravel(), count)
        / np.maximum(area, 1),
        core=np.bincount(owner, minlength=count),
        core_sum=np.bincount(owner, values, count),
        core_square=np.bincount(owner, values**2, count),
        edge=np.bincount(edge, minlength=count),
        edge_empty=np.bincount(edge[edge_hu < _EMPTY_HU], minlength=count),
    )
    table = np.column_stack([columns[name] for name in _COLUMNS])
    return labels, small, thick.view(bool), table[1:]


def _coarse(
    slice_hu: np.ndarray, labels: np.ndarray, factors: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Average HU over blocks of pixels, and return the label of each block's center."""
    rows, columns = factors
    height, width = (-(-n // f) for n, f in zip(slice_hu.shape, factors))
    pad = height * rows - slice_hu.shape[0], width * columns - slice_hu.shape[1]
    hu = np.clip(slice_hu, -1024, 300).astype(np.float32)
    if any(pad):
        hu = cv2.copyMakeBorder(hu, 0, pad[0], 0, pad[1], cv2.BORDER_REPLICATE)
    if factors != (1, 1):
        hu = cv2.resize(hu, (width, height), interpolation=cv2.INTER_AREA)
    at = [
        np.minimum(np.arange(count) * f + f // 2, side - 1)
        for count, f, side in zip((height, width), factors, slice_hu.shape)
    ]
    return hu, labels[at[0][:, None], at[1]]


def _midline(thick: np.ndarray, factor: int) -> tuple[float, float]:
    """Return the body's midline column and half width; NaN if the body is cut."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(thick, connectivity=4)
    if count == 1:
        return np.nan, np.nan
    body = 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    left, width = stats[body, [cv2.CC_STAT_LEFT, cv2.CC_STAT_WIDTH]]
    if left == 0 or left + width == thick.shape[1]:
        return np.nan, np.nan
    return (left + width / 2) * factor - 0.5, width / 2 * factor


def _overlaps(before: np.ndarray, after: np.ndarray, first: list[int]) -> np.ndarray:
    """Return pairs (L, 2) of regions of two neighboring slices that share pixels."""
    both = (before > 0) & (after > 0)
    pairs = np.unique((before[both].astype(np.int64) << 32) + after[both])
    return np.column_stack(
        [first[0] + (pairs >> 32) - 1, first[1] + (pairs & 0xFFFFFFFF) - 1]
    )
