"""Simulated patient: size, shape and the layers from the skin to the body cavity."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .canvas import Canvas

# Landmark heights of the standard patient, in mm below the top of the lungs. DeepLesion
# gives heights as a fraction of the body. The next two numbers convert to this fraction
# (mean height per lesion type in DL_info.csv: lung 0.49, liver 0.60, pelvis 0.79).
BODY_LENGTH_MM = 1300.0
LUNG_TOP_FRACTION = 0.37
_LEVELS = (-60, 0, 60, 120, 200, 300, 380, 430, 500, 560, 620, 700)
_HALF_WIDTH = (112, 138, 150, 153, 150, 144, 138, 140, 156, 166, 170, 168)
_HALF_DEPTH = (74, 82, 92, 98, 102, 100, 94, 92, 95, 97, 98, 96)
_WALL = (20, 20, 19, 17, 16, 14, 13, 14, 20, 24, 26, 28)


class Region(IntEnum):
    """Body region of a lesion: a coarse lesion type of DeepLesion; 0 is elsewhere."""

    OTHER = 0
    BONE = 1
    ABDOMEN = 2
    MEDIASTINUM = 3
    LIVER = 4
    LUNG = 5
    KIDNEY = 6
    SOFT_TISSUE = 7
    PELVIS = 8


@dataclass
class Enhancement:
    """HU of the organs that take up contrast medium.

    Args:
        strength: 0 is no contrast medium, 1 is a good portal venous phase.
    """

    strength: float

    def __getattr__(self, organ: str) -> float:
        table = dict(
            liver=(57, 108),
            spleen=(48, 122),
            kidney=(34, 175),
            medulla=(32, 140),
            artery=(42, 165),
            vein=(40, 150),
            heart=(42, 145),
            muscle=(52, 62),
            pancreas=(38, 92),
            bowel_wall=(38, 75),
            thyroid=(90, 150),
        )
        if organ not in table:
            raise AttributeError(organ)
        plain, full = table[organ]
        return plain + self.strength * (full - plain)


class Patient:
    """Patient anatomy, shared by all scans of the patient.

    Args:
        rng: Random number generator.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.sex = 'M' if rng.random() < 0.55 else 'F'
        self.age = int(np.clip(rng.normal(58, 14), 18, 88))
        self.scale_z = float(rng.uniform(0.92, 1.08))
        self.scale_x = float(rng.uniform(0.9, 1.12))
        self.scale_y = float(rng.uniform(0.9, 1.12))
        self.fat_mm = float(np.clip(rng.lognormal(2.7, 0.45), 5, 42))
        self.visceral = float(rng.uniform(0.0, 1.0))
        self.lung_hu = float(rng.uniform(-885, -805))
        self.bone_density = float(rng.uniform(0.7, 1.2))
        # Waves that displace the body sideways: wave vector (1/mm), phase, amplitude
        # (mm).
        self._waves = [
            (
                1 / rng.uniform(22, 60),
                1 / rng.uniform(35, 90),
                rng.uniform(0, 6.28),
                rng.uniform(0.8, 2.4),
            )
            for _ in range(6)
        ]
        self._surface = [
            (
                1 / rng.uniform(6, 18),
                1 / rng.uniform(6, 18),
                1 / rng.uniform(8, 20),
                *rng.uniform(0, 6.28, 3),
            )
            for _ in range(3)
        ]
        self.jitter_seed = int(rng.integers(2**31))

    def jitter(self, name: str, spread_mm: float = 6.0, size: int = 3) -> np.ndarray:
        """Return the displacement of a named organ in mm, fixed for a patient."""
        key = [self.jitter_seed, *name.encode()]
        return np.random.default_rng(key).normal(0, spread_mm / 2, size)

    def generator(self, name: str) -> np.random.Generator:
        """Return the random generator of a named structure, fixed for a patient."""
        return np.random.default_rng([self.jitter_seed, 7, *name.encode()])

    def half_axes(self, z_mm: ArrayLike) -> tuple[Any, Any]:
        """Return half width and half depth (mm) of the muscular trunk at heights z."""
        level = np.asarray(z_mm) / self.scale_z
        return (
            np.interp(level, _LEVELS, _HALF_WIDTH) * self.scale_x,
            np.interp(level, _LEVELS, _HALF_DEPTH) * self.scale_y,
        )

    def spine_y(self, z_mm: ArrayLike) -> Any:
        """Return y (mm) of the center of the vertebral bodies at heights z."""
        level = np.asarray(z_mm) / self.scale_z
        lordosis = 7 * np.sin((level - 120) / 150)
        return self.half_axes(z_mm)[1] - 54 - lordosis

    def fraction_z(self, z_mm: float) -> float:
        """Return the height as a fraction of the body, as in DeepLesion's locations."""
        level = z_mm / self.scale_z
        return float(np.clip(LUNG_TOP_FRACTION + level / BODY_LENGTH_MM, 0, 1))

    def warp(
        self, z_mm: ArrayLike, y_mm: ArrayLike, x_mm: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the displacement for :class:`Canvas` (mm), (D, H, 1) and (D, 1, W)."""
        z = np.asarray(z_mm, np.float32)[:, None, None]
        y = np.asarray(y_mm, np.float32)[None, :, None]
        x = np.asarray(x_mm, np.float32)[None, None, :]
        shifts = []
        for waves, across in ((self._waves[:3], y), (self._waves[3:], x)):
            total: Any = 0
            for k, kz, phase, size in waves:
                total = total + size * np.sin(k * across + kz * z + phase)
            shifts.append(total.astype(np.float32))
        return shifts[0], shifts[1]

    def wobble(self, canvas: Canvas) -> np.ndarray:
        """Return smooth noise of about -1 to 1 for uneven organ surfaces, (D, H, W)."""
        total: Any = 0
        for kx, ky, kz, px, py, pz in self._surface:
            plane = np.sin(ky * canvas.y + py) * np.cos(kz * canvas.z + pz)
            total = total + plane.astype(np.float32) * np.sin(
                kx * canvas.x + px
            ).astype(np.float32)
        return total * np.float32(0.6)

    def depth(self, canvas: Canvas) -> np.ndarray:
        """Return the depth (mm) below the muscular trunk's surface, (D, H, W)."""
        x, y, z = canvas.coordinates()
        half_x, half_y = self.half_axes(z.ravel())
        u = np.square(x * (1 / half_x).astype(np.float32)[:, None, None])
        v = np.square(y * (1 / half_y).astype(np.float32)[:, None, None])
        # A superellipse-like outline: u^2 + 1.4 uv + v^2 = 1 (an ellipse has 2 uv).
        rho = np.square(u)
        rho += np.float32(1.4) * (u * v)
        rho += np.square(v)
        np.sqrt(rho, out=rho)
        np.sqrt(rho, out=rho)
        np.maximum(rho, np.float32(1e-3), out=rho)
        radius = np.sqrt(np.square(x) + np.square(y))
        return radius / rho - radius


def paint_layers(
    canvas: Canvas, patient: Patient, enhancement: Enhancement, wobble: np.ndarray
) -> np.ndarray:
    """Paint skin, fat, muscle and the fat-filled cavity; return the depth in mm."""
    depth = patient.depth(canvas)
    level = canvas.z / np.float32(patient.scale_z)
    fat = patient.fat_mm * (
        1
        + 0.25 * canvas.y / 100
        + 0.04 * wobble
        + 0.3 * np.clip((level - 250) / 200, 0, 1)
    )
    skin = depth + np.float32(1) * fat
    canvas.blend(skin, 20.0, Region.OTHER)
    canvas.blend(skin - np.float32(2), -105.0, Region.SOFT_TISSUE)
    canvas.blend(depth + wobble, enhancement.muscle, Region.SOFT_TISSUE)
    # Thin layers of fat between the muscles of the wall.
    for at in (5.0, 9.5):
        plane = np.float32(0.1) + np.float32(0.6) * wobble
        plane -= np.abs(depth + np.float32(2) * wobble - at)
        canvas.blend(plane, -50.0, Region.SOFT_TISSUE)
    wall = np.interp(level.ravel(), _LEVELS, _WALL).astype(np.float32)[:, None, None]
    cavity = depth - wall + wobble
    box_label = np.where(level.ravel() < 440, Region.ABDOMEN, Region.PELVIS)
    middle = int(box_label[len(box_label) // 2])
    canvas.blend(cavity, -103.0, middle)
    return depth
