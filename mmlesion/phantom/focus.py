"""Lesions, and vessels that look like lesions in one slice.

Both are drawn from the same distribution of cross sections: radius, outline, HU,
texture, edge, and the shift and shrinkage of the section within a few millimeters. They
differ only along z: a lesion ends within its own length, a vessel continues.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .canvas import Box, Canvas


@dataclass
class Focus:
    """A lesion (``is_vessel=False``) or a vessel, centered in the key slice.

    Args:
        center: (x, y, z) in mm.
        radius_mm: Approximate half of the largest diameter in the key slice.
        half_length_mm: Half length of a lesion along z.
        slope: Shift of the section per mm along z, (x, y), for lesions and vessels.
        outline: (K, 4) rows of order k, relative amplitude, phase, twist per mm.
        aspect, angle: Ratio of short to long axis of the section; direction of the long
            axis.
        spikes: Number, relative length and phase of the spicules; number 0 disables
            them.
        hu: Mean HU.
        texture_hu: Standard deviation inside.
        core_hu: Added to the inner half (necrosis, calcification); 0 disables it.
        edge_mm: Width of the margin.
        is_vessel: Whether the focus continues beyond the slice instead of ending.
        course: For vessels: relative radius beyond the bulge, additional drift
            (x, y) in mm at 10 mm on either side, bend, and distance and spread of a
            fork (mm, relative), where 0 disables the fork.
    """

    center: tuple[float, float, float]
    radius_mm: float
    half_length_mm: float
    slope: tuple[float, float]
    outline: np.ndarray
    aspect: float
    angle: float
    spikes: tuple[int, float, float]
    hu: float
    texture_hu: float
    core_hu: float
    edge_mm: float
    region: int = 0
    is_vessel: bool = False
    course: dict = field(default_factory=dict)
    texture_seed: int = 0

    def profile(self, dz: np.ndarray) -> np.ndarray:
        """Return the relative radius of the section at dz mm, negative past its end."""
        q = 1 - np.abs(dz / self.half_length_mm) ** 2.3
        ending = np.where(q > 0, np.sqrt(np.maximum(q, 0)), -1.0)
        if not self.is_vessel:
            return ending
        c = self.course
        going_on = c['radius'] * (1 + c['taper'] * dz / 20)
        # A smooth maximum of the bulge near the key slice and the tube beyond it.
        power = 14
        return (
            (np.maximum(ending, 0) ** power + going_on**power)
            / (1 + c['radius'] ** power)
        ) ** (1 / power)

    def axis(self, dz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the center (x, y) in mm of the section at dz mm from the key slice."""
        x = self.center[0] + self.slope[0] * dz
        y = self.center[1] + self.slope[1] * dz
        if self.is_vessel:
            # No drift within 2 mm; it increases with the distance.
            far = np.maximum(np.abs(dz) - 2, 0) / 8
            far = far / (1 + 0.25 * far)
            up = dz > 0
            for side, way in (
                (up, self.course['drift_up']),
                (~up, self.course['drift_down']),
            ):
                x = x + side * way[0] * far
                y = y + side * way[1] * far
        return x, y

    def section(
        self, x: np.ndarray, y: np.ndarray, dz: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the relative radius of the outline and the distance from the axis.

        Args:
            x: X distance from the axis in mm.
            y: Y distance from the axis in mm.
            dz: Distance from the key slice in mm.
        """
        theta = np.arctan2(y, x)
        c, s = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        u, v = c * x + s * y, (c * y - s * x) * np.float32(1 / self.aspect)
        r = np.sqrt(np.square(u) + np.square(v))
        limit = np.ones_like(r)
        for k, size, phase, twist in self.outline:
            limit += np.float32(size) * np.cos(
                np.float32(k) * theta + (phase + twist * dz).astype(np.float32)
            )
        count, length, phase = self.spikes
        if count:
            # Thin spicules of uneven length: a comb function times an uneven envelope.
            comb = np.float32(0.5) + np.float32(0.5) * np.cos(
                np.float32(count) * theta
                + np.float32(phase)
                + np.float32(0.8) * np.cos(np.float32(2) * theta)
            )
            uneven = np.float32(0.5) + np.float32(0.5) * np.cos(
                np.float32(count // 2 + 1) * theta - np.float32(1.7 * phase)
            )
            limit += (
                np.float32(length)
                * np.square(np.square(np.square(comb)))
                * (np.float32(0.25) + np.float32(0.75) * uneven)
            )
        return limit, r


def paint_focus(
    canvas: Canvas, focus: Focus, region_is_bone: bool = False
) -> tuple | None:
    """Paint a lesion or a vessel.

    Gas and air outside the body are never painted over. Bone is painted over only by
    lesions of the bone.

    Returns:
        Box and weights (0..1, in the shape of the box), or None outside the canvas.
    """
    shape = focus_shape(canvas, focus)
    if shape is None:
        return None
    box, weight, value = shape
    before = canvas.hu[box]
    if not region_is_bone:
        weight *= 1 - np.clip((before - 210) * np.float32(1 / 60), 0, 1)
    before += weight * (value - before)
    return box, weight


def focus_shape(
    canvas: Canvas, focus: Focus
) -> tuple[Box, np.ndarray, np.ndarray] | None:
    """Return the shape of a focus on a canvas without painting it.

    Returns:
        Box, weights (0..1, 0 in gas and in air outside the body) and HU, both in the
        shape of the box; None outside the canvas.
    """
    z = canvas.z.ravel()
    dz_all = z - focus.center[2]
    profile = focus.profile(dz_all)
    alive = profile > 0
    if not alive.any():
        return None
    ax, ay = focus.axis(dz_all)
    reach = profile * focus.radius_mm * 1.6
    fork = focus.course.get('fork')
    past = fork_x = fork_y = np.zeros_like(dz_all)
    if fork:
        past = np.maximum(fork['side'] * dz_all - fork['from_mm'], 0)
        fork_x, fork_y = fork['way'][0] * past, fork['way'][1] * past
        reach = reach + np.hypot(fork_x, fork_y)
    index = np.flatnonzero(alive)
    box = canvas.box(
        ((ax - reach)[alive].min(), (ay - reach)[alive].min(), -1e9),
        ((ax + reach)[alive].max(), (ay + reach)[alive].max(), 1e9),
    )
    if box is None:
        return None
    box = (slice(int(index[0]), int(index[-1]) + 1), *box[1:])
    take = box[0]
    dz = dz_all[take].astype(np.float32)[:, None, None]
    size = (profile[take] * focus.radius_mm).astype(np.float32)[:, None, None]
    x, y = canvas.x[:, :, box[2]], canvas.y[:, box[1]]

    def distance(cx: np.ndarray, cy: np.ndarray, scale: Any) -> np.ndarray:
        dx = x - cx[take].astype(np.float32)[:, None, None]
        dy = y - cy[take].astype(np.float32)[:, None, None]
        dx, dy = np.broadcast_arrays(dx, dy)
        limit, r = focus.section(dx, dy, dz)
        return limit * (size * scale) - r

    if fork:
        grown = np.clip(past[take] / 3, 0, 1).astype(np.float32)[:, None, None]
        first = distance(ax + fork_x, ay + fork_y, 1 - np.float32(0.22) * grown)
        second = distance(ax - fork_x, ay - fork_y, 1 - np.float32(0.22) * grown)
        signed = np.maximum(first, second)
    else:
        signed = distance(ax, ay, np.float32(1))
    edge = max(focus.edge_mm, canvas.edge_mm)
    weight = np.clip(signed * np.float32(1 / edge) + np.float32(0.5), 0, 1)
    weight *= np.clip((canvas.hu[box] + 975) * np.float32(1 / 40), 0, 1)
    return box, weight, _focus_hu(focus, signed, size, (x, y, dz))


def _focus_hu(
    focus: Focus,
    signed: np.ndarray,
    size: np.ndarray,
    place: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """Return the HU inside a focus with its core and its texture."""
    x, y, dz = place
    value = np.full(signed.shape, focus.hu, np.float32)
    if focus.core_hu:
        inner = np.clip((signed - np.float32(0.45) * size) * np.float32(0.8), 0, 1)
        value += np.float32(focus.core_hu) * inner
    if focus.texture_hu:
        waves = np.random.default_rng(focus.texture_seed).uniform(
            (0.25, 0.25, 0.2, 0, 0), (0.9, 0.9, 0.6, 6.28, 6.28), (2, 5)
        )
        for kx, ky, kz, px, py in waves.astype(np.float32):
            value += np.float32(focus.texture_hu) * (
                np.sin(kx * x + px + kz * dz) * np.sin(ky * y + py)
            )
    return value
