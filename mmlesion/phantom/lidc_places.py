"""Places of nodules anywhere in the lungs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from .body import Enhancement, Patient, Region, paint_layers
from .canvas import Canvas
from .lidc_nodules import NoduleKind
from .organs import paint_organs
from .scan import paint_anatomy
from .vessels import lung_vessels

_COARSE_MM = (5.0, 4.0)  # slice distance and pixel spacing of the map of the lungs
_LEVELS = (-10, 290)  # heights of the lungs in the standard patient, mm
_FINE_MM = 1.0
_TRIES = 8
_VESSEL_RADIUS_MM = (1.0, 3.0)
_VESSEL_HU = -300.0


@dataclass
class LungMap:
    """Coarse map of a patient's lungs.

    Attributes:
        axes: Coordinates (z, y, x) in mm.
        room_mm: Distance to the surface of the lungs, 0 outside, (D, H, W).
        back_mm: Coordinate y of the skin of the back at each z.
    """

    axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    room_mm: np.ndarray
    back_mm: np.ndarray

    @classmethod
    def of(cls, patient: Patient, enhancement: Enhancement) -> 'LungMap':
        """Paint the map, without vessels and bones."""
        step_z, step = _COARSE_MM
        z = np.arange(*_LEVELS, step_z) * patient.scale_z
        half_x, half_y = (
            float(np.max(half)) + 1.5 * patient.fat_mm for half in patient.half_axes(z)
        )
        x, y = np.arange(-half_x, half_x, step), np.arange(-half_y, half_y, step)
        canvas = Canvas(z, y, x, patient.warp(z, y, x), with_labels=True)
        wobble = patient.wobble(canvas)
        depth = paint_layers(canvas, patient, enhancement, wobble)
        paint_organs(canvas, patient, enhancement, depth, wobble)
        room = _depth_mm(
            canvas.labels == Region.LUNG, (step_z * patient.scale_z, step, step)
        )
        body: np.ndarray = np.any(canvas.hu > -500, axis=2)
        back = np.where(
            np.any(body, axis=1), y[len(y) - 1 - body[:, ::-1].argmax(1)], half_y
        )
        return cls((z, y, x), room, back)

    def back_at(self, z_mm: float) -> float:
        """Return the coordinate y of the skin of the back at a height."""
        return float(np.interp(z_mm, self.axes[0], self.back_mm))


@dataclass
class Bounds:
    """Box (mm) in which the centers of nodules may be.

    Attributes:
        low: Lowest x, y, z.
        high: Highest x, y, z.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def contains(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return whether points are in the box."""
        inside = np.ones((), bool)
        for low, at, high in zip(self.low, (x, y, z), self.high):
            inside = inside & (low < at) & (at < high)
        return inside


#: Center (x, y, z) and radius of a nodule, mm.
Ball = tuple[Sequence[float], float]


def find_place(
    kind: NoduleKind,
    lungs: LungMap,
    patient: Patient,
    enhancement: Enhancement,
    others: Sequence[Ball],
    bounds: Bounds | None,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """Draw the center of a nodule.

    All places of the lungs that suit the kind have the same probability.

    Args:
        kind: Kind of the nodule.
        lungs: Map of the lungs.
        patient: The patient.
        enhancement: HU of the enhanced organs.
        others: Nodules to which the nodule keeps a distance.
        bounds: Box that contains the center. None permits all of the lungs.
        rng: Random number generator.

    Returns:
        Center (x, y, z) in mm, or None if no place was found.
    """
    spots = _coarse_spots(kind, lungs, patient, bounds, rng)
    if not len(spots):
        return None
    for _ in range(_TRIES):
        spot = spots[rng.integers(len(spots))]
        if kind.attached == 'vessel':
            spot = _unwarped(spot, patient)
        center = _refine(spot, kind, patient, enhancement, others, bounds, rng)
        if center is not None:
            return center
    return None


def _depth_mm(mask: np.ndarray, spacing_mm: Sequence[float] = (1, 1, 1)) -> np.ndarray:
    """Return the distance from inside a mask to its surface, 0 outside."""
    return np.asarray(distance_transform_edt(mask, spacing_mm), np.float32)


def _coarse_spots(
    kind: NoduleKind,
    lungs: LungMap,
    patient: Patient,
    bounds: Bounds | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return places (N, 3) x, y, z near which the nodule may be; vessels unwarped."""
    if kind.attached == 'vessel':
        segments = lung_vessels(patient)
        radius = np.maximum(segments[:, 3], segments[:, 7])
        low, high = _VESSEL_RADIUS_MM
        segments = segments[(radius > low) & (radius < high)]
        along = rng.random((len(segments), 1))
        spots = segments[:, :3] + along * (segments[:, 4:7] - segments[:, :3])
    else:
        room = lungs.room_mm
        if kind.attached == 'wall':
            allowed = (room > 0) & (room < kind.radius_mm + _COARSE_MM[0])
        else:
            allowed = room > kind.radius_mm
        z, y, x = (
            axis[at] for axis, at in zip(lungs.axes, np.nonzero(allowed), strict=True)
        )
        spots = np.stack((x, y, z), axis=1)
        half = np.array((_COARSE_MM[1], _COARSE_MM[1], _COARSE_MM[0])) / 2
        spots = spots + rng.uniform(-half, half, spots.shape)
    return spots if bounds is None else spots[bounds.contains(*spots.T)]


def _unwarped(point: np.ndarray, patient: Patient) -> np.ndarray:
    """Return the place (x, y, z) of a point of the anatomy before the warp."""
    found = point.copy()
    for _ in range(3):
        shift_x, shift_y = patient.warp(found[2:], found[1:2], found[:1])
        found[:2] = point[0] - shift_x.item(), point[1] - shift_y.item()
    return found


def _refine(
    spot: np.ndarray,
    kind: NoduleKind,
    patient: Patient,
    enhancement: Enhancement,
    others: Sequence[Ball],
    bounds: Bounds | None,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """Return a suitable center near a coarse place, or None."""
    radius = kind.radius_mm
    reach = 5 + 0.5 * radius if kind.attached else 2.0
    steps = np.arange(
        -np.ceil(reach + 1.2 * radius + 2), reach + 1.2 * radius + 3, _FINE_MM
    )
    x, y, z = (at + steps for at in spot)
    canvas = paint_anatomy(z, y, x, patient, enhancement, with_labels=True)
    lung = canvas.labels == Region.LUNG
    if not lung.any():
        return None
    room = _depth_mm(lung)
    vessel = lung & (canvas.hu > _VESSEL_HU)
    near = _depth_mm(~vessel) if vessel.any() else np.full(lung.shape, 99)
    touching = 0.1 * radius + 0.5, 0.45 * radius + 0.5
    # Spicules reach beyond the radius.
    to_wall, to_vessel = room > 1.1 * radius + 1, near > radius
    if kind.attached == 'wall':
        to_wall = (room > touching[0]) & (room < touching[1])
    elif kind.attached == 'vessel':
        to_vessel = (near > touching[0]) & (near < touching[1])
    allowed = to_wall & to_vessel
    z, y, x = z[:, None, None], y[None, :, None], x[None, None]
    for at, axis in zip(spot, (x, y, z)):
        allowed = allowed & (np.abs(axis - at) <= reach)
    if bounds is not None:
        allowed &= bounds.contains(x, y, z)
    for center, other in others:
        apart = np.sqrt(
            (x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2
        )
        allowed &= apart > 2 * (radius + other) + 6
    places = np.flatnonzero(allowed)
    if not places.size:
        return None
    k, j, i = np.unravel_index(places[rng.integers(places.size)], allowed.shape)
    return np.array((x[0, 0, i], y[0, j, 0], z[k, 0, 0]))
