"""Positions and properties of lesions and look-alike vessels.

All foci of a key slice are drawn and placed before it is decided at random which foci
are lesions. The properties that are visible in one slice - position, size, outline, HU,
texture - therefore cannot separate lesions from vessels. Only the course along z can.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from .body import Enhancement, Patient, Region
from .canvas import Canvas
from .focus import Focus

_COARSE_MM = 2.5
# Probability of each region and its height range (mm, standard patient).
_REGIONS = {
    Region.BONE: (0.03, (60, 560)),
    Region.ABDOMEN: (0.22, (300, 430)),
    Region.MEDIASTINUM: (0.17, (40, 175)),
    Region.LIVER: (0.14, (230, 330)),
    Region.LUNG: (0.24, (25, 225)),
    Region.KIDNEY: (0.05, (310, 380)),
    Region.SOFT_TISSUE: (0.06, (0, 590)),
    Region.PELVIS: (0.09, (455, 580)),
}


# Left, top and side of a field of view in mm.
_Window = tuple[float, float, float]
# Region, center x and y, and radius in mm of a focus.
_Place = tuple[Region, np.ndarray, float]


@dataclass
class Layout:
    """Field of view and foci of one key slice, in mm of the patient.

    Attributes:
        z_mm: Height of the key slice.
        origin_mm: x and y of the center of the first pixel.
        spacing_mm: Pixel spacing.
        back_mm: y of the skin of the back; the table is below.
    """

    z_mm: float
    origin_mm: tuple[float, float]
    spacing_mm: float
    back_mm: float
    lesions: list[Focus]
    vessels: list[Focus]


def draw_diameter(rng: np.random.Generator) -> float:
    """Draw a diameter in mm: log-uniform, mostly 9 to 30, with tails from 4 to 60."""
    low, high = ((4, 9), (9, 30), (30, 60))[rng.choice(3, p=(0.05, 0.87, 0.08))]
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _draw_hu(
    region: Region,
    strength: Enhancement,
    tissue_hu: float,
    rng: np.random.Generator,
) -> float:
    """Draw the mean HU of a focus so that it differs enough from its surroundings."""
    lot = rng.random()
    if region == Region.LUNG:
        return rng.uniform(-500, -250) if lot < 0.12 else rng.uniform(0, 90)
    if region == Region.LIVER:
        step = rng.uniform(55, 105)
        return tissue_hu + (step if lot < 0.25 else -step)
    if region == Region.KIDNEY:
        cyst = tissue_hu > 90 or lot < 0.5
        return rng.uniform(0, 25) if cyst else rng.uniform(75, 110)
    if region == Region.BONE:
        return rng.uniform(20, 70) if lot < 0.55 else rng.uniform(650, 1000)
    if tissue_hu > 0:  # in muscle or pancreas, not a lymph node in fat
        return tissue_hu + (rng.uniform(60, 110) if lot < 0.5 else -rng.uniform(55, 95))
    return rng.uniform(15, 90) + 25 * strength.strength * rng.random()


def draw_focus(
    region: Region,
    center: tuple[float, float, float],
    radius_mm: float,
    enhancement: Enhancement,
    tissue_hu: float,
    rng: np.random.Generator,
) -> Focus:
    """Draw the properties of a focus that lesions and vessels share."""
    shape = rng.choice(3, p=(0.5, 0.33, 0.17))  # smooth, lobulated, spiculated
    size = (0.035, 0.11, 0.09)[shape]
    orders = np.array((2, 3, 4, 5), float)
    outline = np.stack(
        (
            orders,
            size * rng.uniform(0.3, 1.2, 4) * (3 / orders) ** 0.7,
            rng.uniform(0, 6.28, orders.size),
            rng.normal(0, 0.03, orders.size),
        ),
        axis=1,
    ).astype(np.float32)
    spikes = (0, 0.0, 0.0)
    if shape == 2:
        spikes = (
            int(rng.integers(7, 14)),
            float(rng.uniform(0.3, 0.6) * min(1, 9 / radius_mm)),
            float(rng.uniform(0, 6.28)),
        )
    slope, way = rng.uniform(0.15, 0.6), rng.uniform(0, 6.28)
    core = 0.0
    if rng.random() < 0.15 and radius_mm > 5:
        core = float(rng.choice((-30.0, -45.0, 160.0), p=(0.45, 0.4, 0.15)))
    # Lengths are similar to diameters. Large foci are flatter, so that 15 slices at 2
    # mm contain both ends.
    half_length = max(
        3.0, radius_mm * rng.uniform(0.8, 1.1) * min(1, (8 / radius_mm) ** 0.5)
    )
    return Focus(
        center=center,
        radius_mm=radius_mm,
        half_length_mm=half_length,
        slope=(slope * np.cos(way), slope * np.sin(way)),
        outline=outline,
        aspect=float(rng.uniform(0.62, 0.95)),
        angle=float(rng.uniform(0, 3.14)),
        spikes=spikes,
        hu=float(_draw_hu(region, enhancement, tissue_hu, rng)),
        texture_hu=float(rng.uniform(0, 9)),
        core_hu=core,
        edge_mm=float(rng.uniform(0.8, 2.4)),
        region=int(region),
        texture_seed=int(rng.integers(2**31)),
    )


def make_vessel(focus: Focus, rng: np.random.Generator) -> Focus:
    """Turn a focus into a vessel that continues beyond the slice."""
    focus.is_vessel = True
    slope = np.array(focus.slope)
    slope = slope / np.linalg.norm(slope)
    drifts = []
    for sign in (1, -1):
        turn = rng.normal(0, 0.5)
        c, s = np.cos(turn), np.sin(turn)
        way = sign * (np.array(((c, -s), (s, c))) @ slope)
        drifts.append(tuple(way * rng.uniform(1.0, 4.5)))
    fork = None
    if rng.random() < 0.35:
        angle = rng.uniform(0, 6.28)
        spread = rng.uniform(0.35, 0.7)
        fork = dict(
            side=float(rng.choice((-1, 1))),
            from_mm=float(rng.uniform(3, 8)),
            way=(spread * np.cos(angle), spread * np.sin(angle)),
        )
    focus.course = dict(
        radius=float(rng.uniform(0.58, 0.88)),
        taper=float(rng.normal(0, 0.15)),
        drift_up=drifts[0],
        drift_down=drifts[1],
        fork=fork,
    )
    return focus


def place_foci(
    patient: Patient,
    enhancement: Enhancement,
    rng: np.random.Generator,
    size: int,
    spacing_mm: float,
    paint_anatomy: Callable[..., Canvas],
    region: Region | None,
    num_vessels: tuple[int, int],
    view: Layout | None = None,
) -> Layout | None:
    """Choose height, field of view and foci of a key slice.

    Args:
        patient: The patient.
        enhancement: HU of the enhanced organs.
        rng: Random number generator.
        size: Image side in pixels.
        spacing_mm: Pixel spacing. If the image shows the whole body, it is drawn again.
        paint_anatomy: Function that paints the patient on a grid, with labels.
        region: Region of the first focus; drawn at random if None.
        num_vessels: Smallest and largest number of look-alike vessels.
        view: Height and field of view, instead of random ones.

    Returns:
        The layout, or None if a lesion and a look-alike vessel do not fit.
    """
    names = list(_REGIONS)
    share = np.array([_REGIONS[name][0] for name in names])
    if region is None and view is None:
        region = names[rng.choice(len(names), p=share / share.sum())]
    if view is None:
        assert region is not None
        z_mm = rng.uniform(*_REGIONS[region][1]) * patient.scale_z
    else:
        z_mm = view.z_mm
    section = _paint_section(z_mm, patient, enhancement, paint_anatomy)
    half_x, half_y = section.half_mm
    num_lesions = int(rng.choice((1, 2, 3), p=(0.72, 0.22, 0.06)))
    wanted = num_lesions + int(rng.integers(num_vessels[0], num_vessels[1] + 1))
    whole_body = size * spacing_mm > 2.2 * min(half_x, half_y)
    if whole_body and view is None:
        # The whole body is seen, as in most real images: choose the spacing so.
        spacing_mm = float(
            np.clip(2 * half_x * rng.uniform(1.02, 1.2) / size, 0.5, 0.976562)
        )
    wanted += 3 * (whole_body and num_vessels[1] > 0)
    fov_mm = size * spacing_mm
    back_mm, window = section.back_mm, None
    if view is not None:
        back_mm, window = view.back_mm, (*view.origin_mm, fov_mm)
        if region is None:
            seen = section.room_for_regions(window, 6) > 0
            if not seen.any():
                return None
            region = names[rng.choice(len(names), p=share * seen / (share @ seen))]
    assert region is not None
    placed, window = _choose_places(section, region, wanted, fov_mm, window, rng)
    if len(placed) < num_lesions + (num_vessels[0] > 0):
        return None
    assert window is not None  # set by the first focus placed
    foci = [
        draw_focus(
            target, (*center, z_mm), radius, enhancement, section.hu_at(center), rng
        )
        for target, center, radius in placed
    ]
    order = rng.permutation(len(foci))
    lesions = [foci[i] for i in order[:num_lesions]]
    vessels = [make_vessel(foci[i], rng) for i in order[num_lesions:]]
    return Layout(z_mm, window[:2], spacing_mm, back_mm, lesions, vessels)


@dataclass
class _Section:
    """Coarse axial section of a patient.

    Attributes:
        x: Coordinates of the columns in mm.
        y: Coordinates of the rows in mm.
        hu: HU, (H, W).
        depth_mm: For each region, the distance to its border in mm, (H, W).
        half_mm: Half of the sides of the section, x and y.
    """

    x: np.ndarray
    y: np.ndarray
    hu: np.ndarray
    depth_mm: dict[Region, np.ndarray]
    half_mm: tuple[float, float]

    @property
    def back_mm(self) -> float:
        """Coordinate y of the skin of the back."""
        body = np.flatnonzero((self.hu > -500).any(1))
        return float(self.y[body[-1]]) if body.size else self.half_mm[1]

    def depth_in(
        self, region: Region, window: _Window | None, margin_mm: float = 0.0
    ) -> np.ndarray:
        """Return the depth in a region, 0 outside the field of view less a margin."""
        depth = self.depth_mm[region]
        if window is None:
            return depth
        left, top, side = window
        low, high = margin_mm, side - margin_mm
        seen_x = (self.x > left + low) & (self.x < left + high)
        seen_y = (self.y > top + low) & (self.y < top + high)
        return depth * (seen_y[:, None] & seen_x[None])

    def room_for_regions(self, window: _Window | None, depth_mm: float) -> np.ndarray:
        """Return the visible pixels of each region that are deeper than a distance."""
        return np.array(
            [(self.depth_in(each, window) > depth_mm).sum() for each in _REGIONS]
        )

    def hu_at(self, center: np.ndarray) -> float:
        """Return the HU of the pixel at a place x and y."""
        iy = int(np.clip(np.searchsorted(self.y, center[1]), 0, self.y.size - 1))
        ix = int(np.clip(np.searchsorted(self.x, center[0]), 0, self.x.size - 1))
        return float(self.hu[iy, ix])


def _paint_section(
    z_mm: float,
    patient: Patient,
    enhancement: Enhancement,
    paint_anatomy: Callable[..., Canvas],
) -> _Section:
    half_x, half_y = (
        float(v) + 1.5 * patient.fat_mm + 8 for v in patient.half_axes(z_mm)
    )
    x = np.arange(-half_x, half_x, _COARSE_MM)
    y = np.arange(-half_y, half_y, _COARSE_MM)
    coarse = paint_anatomy(np.array([z_mm]), y, x, patient, enhancement, True)
    assert coarse.labels is not None
    labels = coarse.labels[0]
    depth = {
        r: cv2.distanceTransform((labels == r).astype(np.uint8), cv2.DIST_L2, 3)
        * _COARSE_MM
        for r in _REGIONS
    }
    return _Section(x, y, coarse.hu[0], depth, (half_x, half_y))


def _choose_places(
    section: _Section,
    region: Region,
    wanted: int,
    fov_mm: float,
    window: _Window | None,
    rng: np.random.Generator,
) -> tuple[list[_Place], _Window | None]:
    """Choose region, center and radius of the foci, and the field of view.

    Nothing is placed if there is no place for the first focus.
    """
    names = list(_REGIONS)
    placed: list[_Place] = []
    for n in range(wanted):
        target = region
        if n and rng.random() > 0.65:
            areas = np.sqrt(section.room_for_regions(window, 2))
            if areas.sum() == 0:
                continue
            target = names[rng.choice(len(areas), p=areas / areas.sum())]
        radius = min(draw_diameter(rng) / 2, 0.2 * fov_mm)
        place = _choose_place(section, target, radius, window, placed, rng)
        if place is not None:
            placed.append(place)
        elif n == 0:
            break
        if window is None:
            _, center, radius = placed[0]
            window = _field_of_view(center, radius, fov_mm, *section.half_mm, rng)
    return placed, window


def _choose_place(
    section: _Section,
    region: Region,
    radius_mm: float,
    window: _Window | None,
    placed: list[_Place],
    rng: np.random.Generator,
) -> _Place | None:
    """Choose a free place for a focus, which shrinks if there is no place for it."""
    x, y = section.x, section.y
    # Most lie free in their tissue, some touch what is beside it.
    free, gap = (1.05, 1.0) if rng.random() < 0.75 else (0.75, 0.0)
    for shrink in (1.0, 0.85, 0.7, 0.55, 0.42):
        r = max(radius_mm * shrink, min(radius_mm, 4.5))
        allowed = section.depth_in(region, window, r + 4) > free * r + gap
        for _, c, other in placed:
            apart = np.hypot(x[None] - c[0], y[:, None] - c[1])
            allowed = allowed & (apart > 1.2 * (r + other) + 3)
        spots = np.flatnonzero(allowed)
        if spots.size:
            at = np.unravel_index(spots[rng.integers(spots.size)], allowed.shape)
            return region, np.array((x[at[1]], y[at[0]])) + rng.uniform(-1, 1, 2), r
    return None


def _field_of_view(
    center: np.ndarray,
    radius: float,
    fov_mm: float,
    half_x: float,
    half_y: float,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Draw left, top and side length in mm of a field that contains the first focus."""
    corner = []
    for c, half in zip(center, (half_x, half_y)):
        if fov_mm > 2 * half:
            corner.append(-fov_mm / 2 + rng.uniform(-0.2, 0.2) * (fov_mm - 2 * half))
            continue
        margin = radius + 6
        low, high = c + margin - fov_mm, c - margin
        # Prefer fields inside the body.
        low, high = max(low, min(-half, high)), min(high, max(half - fov_mm, low))
        corner.append(rng.uniform(min(low, high), max(low, high)))
    return (float(corner[0]), float(corner[1]), float(fov_mm))
