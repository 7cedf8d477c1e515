"""Simulated follow-up CT of the whole chest with signs of aspergillosis."""

import copy
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from mmlesion.ct.projections import LEVELS, REGIONS, SIDES, region_slices

from .body import Enhancement, Patient, Region, paint_layers
from .canvas import Canvas
from .organs import chest_wall_mm, paint_organs
from .pathology import (
    BACKGROUNDS,
    SIGNS,
    Background,
    Cavity,
    Thickening,
    paint_background,
    paint_cavity,
    paint_thickening,
)
from .scan import Protocol, finish, paint_anatomy, paint_table

# Fraction of the lung regions of diseased patients that contain the sign, by LEVELS. In
# Zusag et al., Table 1, it is (both sides together) 0.53, 0.09, 0.04 for cavities and
# 0.56, 0.04, 0.02 for pleural thickening. The lower levels have higher fractions here,
# so that each sign occurs in tens of scans at each level, and the height alone does not
# predict it.
_SHARES = dict(cavity=(0.5, 0.2, 0.12), pleural_thickening=(0.5, 0.15, 0.12))
# Fraction of the sufficiently large cavities that finally contain a ball. Table 1
# states 0.89, and more balls than cavities in the right upper lung. The value here
# gives about as many cavities without a ball as with a ball.
_BALL_SHARE = 0.75
# Of 276 studies: consolidation 112, bronchiectasis 86, emphysema 66, ground glass 38.
_BACKGROUND_SHARES = dict(
    consolidation=0.41, ground_glass=0.14, emphysema=0.24, bronchiectasis=0.31
)
# Top and base of the standard patient's lungs, with a margin of some mm.
_TOP_MM, _BASE_MM = -28.0, 294.0
_COARSE_MM = 4.0
_NOISE_PIXEL_MM = 0.75
_VOXELS_AT_ONCE = 3_000_000


@dataclass(frozen=True)
class Sign:
    """A sign or a background disease at a position.

    Attributes:
        region: One of :data:`mmlesion.ct.projections.REGIONS`.
        what: The object to paint.
        onset: First visit at which it is present.
        ball_onset: For a cavity, the first visit at which its ball is present. There is
            no ball if this is not below the number of visits.
    """

    region: str
    what: Cavity | Thickening | Background
    onset: int = 0
    ball_onset: int = 0


@dataclass
class Course:
    """A patient over several years.

    Attributes:
        patient: The anatomy.
        severity: 0 to 1. It determines the number of signs, the size of the background
            diseases and the rate of growth.
        signs: All signs and diseases at the last visit; empty for a control.
        years: Times of the visits since the first visit.
        end_years: Time of death, or last time known to be alive.
        died: Whether ``end_years`` is the time of death.
    """

    patient: Patient
    severity: float = 0.0
    signs: list[Sign] = field(default_factory=list)
    years: tuple[float, ...] = (0.0,)
    end_years: float = 0.0
    died: bool = False

    def size(self, visit: int) -> float:
        """Return the size at a visit as a fraction of the size at the last visit."""
        before_end = self.years[-1] - self.years[visit]
        return float(max(0.7, 1 - (0.02 + 0.08 * self.severity) * before_end))

    def survival(self, visit: int) -> int | None:
        """Return 1 if dead within two years, 0 if alive, None if unknown or a control.

        Source: Zusag et al., Sec. 3.3: scans in the two years before death, and
        scans of survivors more than two years before the last contact.
        """
        left = self.end_years - self.years[visit]
        if not self.signs or (left < 2) != self.died:
            return None
        return int(self.died)


@dataclass
class SignScan:
    """A simulated scan of the whole lungs.

    Attributes:
        hu: (D, H, W) int16, from the feet to the head.
        masks: Ground-truth masks of the present signs, each (D, H, W) bool.
        lung: Ground-truth mask of the lungs with all lesions, (D, H, W) bool.
        regions: Lung regions that contain each sign.
        truth: One dict per sign and disease: ``sign``, ``region``, ``place``
            (z, y, x) in voxels and ``volume_mm3`` (both None for diseases).
        spacing_mm: (z, y, x).
        origin: World position (x, y, z) of the center of the first voxel, mm.
    """

    hu: np.ndarray
    masks: dict[str, np.ndarray]
    lung: np.ndarray
    regions: dict[str, set[str]]
    truth: list[dict]
    spacing_mm: tuple[float, float, float]
    origin: tuple[float, float, float]


def draw_course(
    patient: Patient, rng: np.random.Generator, diseased: bool, max_visits: int = 8
) -> Course:
    """Draw the diseases of a patient and the times of scans and death.

    Patients have 1 to 8 scans (Zusag et al., Sec. 1.1), controls have one scan. The
    probability of death increases with the severity, and so do the number and size of
    the visible signs and other diseases.

    Args:
        patient: The anatomy.
        rng: Random number generator.
        diseased: False for a control.
        max_visits: Maximum number of scans.

    Raises:
        RuntimeError: If no sign fits into the lungs.
    """
    if not diseased:
        return Course(patient)
    severity = float(rng.uniform())
    visits = min(int(rng.geometric(0.36)), max_visits)
    years = tuple(np.cumsum([0, *rng.uniform(0.4, 2.2, visits - 1)]).tolist())
    died = bool(rng.random() < 1 / (1 + np.exp(-12 * (severity - 0.5))))
    end = years[-1] + (rng.uniform(0.1, 1.9) if died else rng.uniform(1.5, 6))
    empty = _Room(patient)
    for _ in range(20):
        signs = _place_signs(copy.copy(empty), severity, visits, rng)
        if signs:
            return Course(patient, severity, signs, years, float(end), died)
    raise RuntimeError('no sign fits into the lungs')


def simulate_sign_scan(
    course: Course, visit: int, rng: np.random.Generator, size: int = 128
) -> SignScan:
    """Simulate one scan of the whole lungs.

    Args:
        course: The patient.
        visit: Index of the visit.
        rng: Generator of everything that differs between scans of a patient.
        size: Width and height in pixels. There are 27 slices per 32 pixels, that is,
            216 slices for 256 pixels (Zusag et al., Sec. 2.3).
    """
    patient = copy.copy(course.patient)
    patient.lung_hu += float(rng.normal(0, 12))  # depth of inspiration
    z, y, x = _grid(patient, size, rng.normal(0, 2.5, 3))
    spacing = (float(z[1] - z[0]), float(y[1] - y[0]), float(x[1] - x[0]))
    protocol = Protocol.draw(rng)
    protocol.interval_mm, protocol.spacing_mm = spacing[0], spacing[1]
    # The mean over a pixel of 3 mm has a quarter of the noise of a pixel of 0.75 mm.
    protocol.sigma_hu *= min(1.0, _NOISE_PIXEL_MM / spacing[1])
    # High-resolution CT, mostly without contrast medium.
    protocol.enhancement = Enhancement(
        0.0 if rng.random() < 0.7 else rng.uniform(0.5, 1)
    )
    hu = np.empty((z.size, size, size), np.float32)
    lung = np.empty(hu.shape, bool)
    there = [sign for sign in course.signs if sign.onset <= visit]
    painted = [{} for _ in there]  # mask of each sign
    chunk = max(1, _VOXELS_AT_ONCE // size**2)
    for first in range(0, z.size, chunk):
        part = slice(first, first + chunk)
        canvas = paint_anatomy(z[part], y, x, patient, protocol.enhancement, True)
        lung[part] = canvas.labels == Region.LUNG
        canvas.labels = None
        paint_table(canvas, _back_mm(patient) + 6)
        for sign, masks in zip(there, painted):
            found = _paint(canvas, sign, lung[part], patient, course.size(visit), visit)
            for name, (box, inside) in found.items():
                mask = masks.setdefault(name, np.zeros(hu.shape, bool))
                mask[part][box] = inside
        hu[part] = canvas.hu
    finish(hu, protocol, rng)
    hu = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    return _scan(
        hu[::-1],
        lung[::-1],
        there,
        painted,
        spacing,
        (round(float(x[0]), 3), round(float(y[0]), 3), round(-float(z[-1]), 3)),
    )


def _paint(canvas: Canvas, sign: Sign, lung, patient, size, visit) -> dict:
    if isinstance(sign.what, Cavity):
        return paint_cavity(canvas, sign.what, lung, size, sign.ball_onset <= visit)
    if isinstance(sign.what, Thickening):
        wall_mm = chest_wall_mm(canvas, patient, patient.depth(canvas))
        return paint_thickening(canvas, sign.what, lung, wall_mm, size)
    paint_background(canvas, sign.what, lung, size)
    return {}


def _scan(hu, lung, there, painted, spacing, origin) -> SignScan:
    masks, truth = {}, []
    regions = {name: set() for name in SIGNS}
    for sign, found in zip(there, painted):
        if isinstance(sign.what, Background):
            truth.append(
                dict(
                    sign=sign.what.kind, region=sign.region, place=None, volume_mm3=None
                )
            )
        for name, mask in found.items():
            mask = mask[::-1]
            place = [float(index.mean()) for index in np.nonzero(mask)]
            truth.append(
                dict(
                    sign=name,
                    region=sign.region,
                    place=place,
                    volume_mm3=float(mask.sum() * np.prod(spacing)),
                )
            )
            regions[name].add(sign.region)
            masks[name] = masks.get(name, False) | mask
    return SignScan(
        np.ascontiguousarray(hu),
        masks,
        np.ascontiguousarray(lung),
        regions,
        truth,
        spacing,
        origin,
    )


def _grid(patient: Patient, size: int, shift_mm) -> tuple:
    """Return the coordinates (z, y, x) in mm of voxels that cover the lungs."""
    half = float(patient.half_axes(100 * patient.scale_z)[0]) + 1.3 * patient.fat_mm
    step = 2.06 * half / size
    across = (np.arange(size) - (size - 1) / 2) * step
    depth = round(size * 27 / 32)
    top, base = _TOP_MM * patient.scale_z, _BASE_MM * patient.scale_z
    z = top + (base - top) * (np.arange(depth) + 0.5) / depth
    return z + shift_mm[0], across + shift_mm[1], across + shift_mm[2]


def _back_mm(patient: Patient) -> float:
    """Return the y coordinate of the skin of the back in mm."""
    level = 100 * patient.scale_z
    return float(patient.half_axes(level)[1]) + 1.3 * patient.fat_mm


class _Room:
    """Free positions in the lungs of a patient, in mm of the patient."""

    def __init__(self, patient: Patient):
        z, y, x = _grid(patient, 96, (0, 0, 0))
        z, y, x = (np.arange(c[0], c[-1], _COARSE_MM) for c in (z, y, x))
        canvas = Canvas(z, y, x, patient.warp(z, y, x), True)
        wobble = patient.wobble(canvas)
        depth = paint_layers(canvas, patient, Enhancement(0.0), wobble)
        paint_organs(canvas, patient, Enhancement(0.0), depth, wobble)
        lung = canvas.labels == Region.LUNG
        self.axes = z, y, x
        # The positions at which vessels.py and organs.py start the vessels and bronchi.
        scale = (patient.scale_x, patient.scale_y, patient.scale_z)
        self.hila = {
            side: tuple(np.multiply((sign * 42, 10, 130), scale))
            for side, sign in zip(SIDES, (1, -1))
        }
        self.depth = np.asarray(ndimage.distance_transform_edt(lung)) * _COARSE_MM
        wall = chest_wall_mm(canvas, patient, depth)
        # Require lung next to the wall, which excludes the recess beside the diaphragm.
        near = ndimage.maximum_filter(self.depth, 2 * round(14 / _COARSE_MM) + 1)
        self.surface = lung & (wall > 0) & (wall < 1.5 * _COARSE_MM) & (near > 12)
        # z decreases toward the head here, and increases toward the head in a scan.
        self.slices = {
            name: (slice(z.size - part[0].stop, z.size - part[0].start), *part[1:])
            for name, part in region_slices(lung.shape).items()
        }
        self.taken: tuple[tuple[np.ndarray, float], ...] = ()

    def find(
        self,
        allowed: np.ndarray,
        region: str,
        reach: float,
        rng: np.random.Generator,
        apart: float = 1.0,
    ):
        """Return a position (x, y, z) whose extent is inside the region, or None."""
        part = self.slices[region]
        z, y, x = (axis[at] for axis, at in zip(self.axes, part))
        margin = reach + 7  # the scan position varies by some mm in z
        if z[-1] - z[0] < 2 * margin:
            return None
        allowed = (
            allowed[part] & ((z > z[0] + margin) & (z < z[-1] - margin))[:, None, None]
        )
        middle = x[0] if region.startswith('left') else x[-1]
        allowed &= np.abs(x - middle) > margin
        for center, other in self.taken:
            far = np.sqrt(
                (z[:, None, None] - center[2]) ** 2
                + (y[:, None] - center[1]) ** 2
                + (x - center[0]) ** 2
            )
            allowed &= far > apart * (reach + other)
        spots = np.flatnonzero(allowed)
        if not spots.size:
            return None
        k, j, i = np.unravel_index(spots[rng.integers(spots.size)], allowed.shape)
        return np.array((x[i], y[j], z[k])) + rng.uniform(-1, 1, 3)


def _place_signs(
    room: _Room, severity: float, visits: int, rng: np.random.Generator
) -> list[Sign]:
    signs = []
    more = 0.7 + 0.6 * severity

    def onset() -> int:
        return 0 if rng.random() < 0.75 else int(rng.integers(visits))

    for region in rng.permutation(REGIONS):
        level = LEVELS.index(region.split('_')[1])
        if rng.random() < more * _SHARES['pleural_thickening'][level]:
            reach = rng.uniform(28, 42)
            place = room.find(room.surface, region, reach, rng)
            if place is not None:
                signs.append(
                    Sign(str(region), Thickening.draw(place, reach, rng), onset())
                )
                room.taken += ((place, reach),)
        if rng.random() < more * _SHARES['cavity'][level]:
            found = _place_cavity(room, str(region), visits, onset(), rng)
            signs += found
    if not signs:
        return []
    # A patient must have a sign at the first visit.
    if min(sign.onset for sign in signs) > 0:
        signs[0] = Sign(signs[0].region, signs[0].what, 0, signs[0].ball_onset)
    # Background diseases are painted before the signs.
    return _place_backgrounds(room, severity, rng) + signs


def _place_cavity(room, region, visits, onset, rng) -> list[Sign]:
    wanted = float(np.exp(rng.uniform(np.log(14), np.log(30))))
    for radius in (wanted, 0.8 * wanted, 0.65 * wanted, 12.0):
        place = room.find(room.depth > 0.9 * radius, region, radius, rng)
        if place is None:
            continue
        room.taken += ((place, radius),)
        ball = visits
        # A ball needs room, and a hole that is large enough to show the air crescent.
        if radius > 13 and rng.random() < _BALL_SHARE:
            ball = onset if rng.random() < 0.7 else int(rng.integers(onset, visits))
        return [Sign(region, Cavity.draw(place, radius, rng), onset, ball)]
    return []


def _place_backgrounds(room, severity, rng) -> list[Sign]:
    found = []
    for kind in BACKGROUNDS:
        if rng.random() > (0.6 + 0.8 * severity) * _BACKGROUND_SHARES[kind]:
            continue
        for _ in range(int(rng.integers(1, 3 + round(2 * severity)))):
            region = str(rng.choice(REGIONS))
            reach = float(rng.uniform(14, 20 + 18 * severity))
            place = room.find(room.depth > 6, region, 10.0, rng, apart=0.9)
            if place is None:
                continue
            hilum = room.hila[region.split('_')[0]]
            found.append(
                Sign(
                    region,
                    Background(
                        kind,
                        tuple(place.tolist()),
                        reach,
                        severity,
                        hilum,
                        int(rng.integers(2**31)),
                    ),
                )
            )
    return found
