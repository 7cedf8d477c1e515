"""Findings that look like signs but are not: effusions, bullae and apical caps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .canvas import Canvas
from .pathology import GAS_HU
from .shapes import around, ellipsoid, limits

#: Findings without a label that look like pleural thickening or like a cavity.
MIMICS = ('pleural_effusion', 'bulla', 'apical_cap')
# The layer of fluid or tissue is this far outside of the lung where it is absent, so
# that partial voxels are not painted there.
_ABSENT_MM = np.float32(3)


@dataclass(frozen=True)
class Effusion:
    """Fluid between the lung and the chest wall of a supine patient.

    The fluid forms a smooth crescent along the posterior wall, which becomes thicker
    toward the back and toward the base. It is not part of the lung.

    Attributes:
        side: 1 for the patient's left, -1 for the right.
        thickness_mm: Greatest thickness, at the back of the base.
        top_mm: Upper end (z).
        front_mm: Anterior end (y).
        hu: HU of the fluid, -10 to 25.
    """

    side: int
    thickness_mm: float
    top_mm: float
    front_mm: float
    hu: float

    kind = 'pleural_effusion'

    @classmethod
    def draw(
        cls, side: int, scale: Sequence[float], rng: np.random.Generator
    ) -> 'Effusion':
        """Draw all properties except the side.

        Args:
            side: 1 for the patient's left, -1 for the right.
            scale: Size of the patient along x, y, z relative to the standard patient.
            rng: Random number generator.
        """
        return cls(
            side,
            float(rng.uniform(12, 40)),
            float(rng.uniform(70, 160) * scale[2]),
            float(rng.uniform(-20, 20) * scale[1]),
            float(rng.uniform(-10, 25)),
        )


@dataclass(frozen=True)
class Bulla:
    """An air space in the lung with a wall of 1 mm. A cavity has a thicker wall.

    Attributes:
        center: (x, y, z) in mm.
        radius_mm: Radius of the outer surface.
        aspect: Relative half axes (x, y, z).
        wall_mm: Thickness of the wall.
        wall_hu: HU of the wall, soft tissue.
    """

    center: tuple[float, float, float]
    radius_mm: float
    aspect: tuple[float, float, float]
    wall_mm: float = 1.0
    wall_hu: float = 40.0

    kind = 'bulla'


@dataclass(frozen=True)
class ApicalCap:
    """A thin, smooth layer of soft tissue over the apex of a lung.

    Attributes:
        side: 1 for the patient's left, -1 for the right.
        thickness_mm: Greatest thickness, 2 to 5 mm.
        end_mm: Lower end (z).
        hu: HU of the soft tissue.
    """

    side: int
    thickness_mm: float
    end_mm: float
    hu: float

    kind = 'apical_cap'

    @classmethod
    def draw(
        cls, side: int, scale: Sequence[float], rng: np.random.Generator
    ) -> 'ApicalCap':
        """Draw all properties except the side, as :meth:`Effusion.draw`."""
        return cls(
            side,
            float(rng.uniform(2, 5)),
            float(rng.uniform(28, 45) * scale[2]),
            float(rng.uniform(20, 65)),
        )


def effusion_mm(
    effusion: Effusion, x: np.ndarray, y: np.ndarray, z: np.ndarray, wall_mm: np.ndarray
) -> np.ndarray:
    """Return the signed distance from the surface of an effusion, positive inside.

    Args:
        effusion: The effusion.
        x: Coordinates in mm, toward the left.
        y: Coordinates in mm, toward the back.
        z: Coordinates in mm, toward the feet.
        wall_mm: Distance from the outer surface of the lung.

    Shape:
        - x: (1, 1, W)
        - y: (1, H, 1)
        - z: (D, 1, 1)
        - wall_mm, Output: (D, H, W)
    """
    share = _smooth((y - effusion.front_mm) / 55) * _smooth((z - effusion.top_mm) / 100)
    return _layer(effusion, share, x, wall_mm)


def paint_mimic(
    canvas: Canvas,
    mimic: Effusion | Bulla | ApicalCap,
    lung: np.ndarray,
    wall_mm: np.ndarray,
) -> dict[str, tuple]:
    """Paint an effusion, a bulla or an apical cap.

    Args:
        canvas: Canvas, modified in place.
        mimic: What to paint.
        lung: Mask of the lung, the only part that is painted over. An effusion is
            removed from it.
        wall_mm: Distance from the outer surface of the lung, positive in the lung, from
            :func:`mmlesion.phantom.organs.pleura_mm`.

    Shape:
        - lung, wall_mm: (D, H, W)

    Returns:
        Its kind with its box and the mask in the box. Empty outside the canvas.
    """
    if isinstance(mimic, Bulla):
        return _paint_bulla(canvas, mimic, lung)
    far = 1e4
    across = (0.0, far) if mimic.side > 0 else (-far, 0.0)
    if isinstance(mimic, Effusion):
        front, top, end = mimic.front_mm, mimic.top_mm, far
    else:
        front, top, end = -far, -far, mimic.end_mm
    box = canvas.box((across[0], front, top), (across[1], far, end))
    if box is None:
        return {}
    x, y, z = canvas.x[:, :, box[2]], canvas.y[:, box[1]], canvas.z[box[0]]
    if isinstance(mimic, Effusion):
        distance = effusion_mm(mimic, x, y, z, wall_mm[box])
    else:
        share = _smooth((mimic.end_mm - z) / 18)
        distance = _layer(mimic, share, x, wall_mm[box])
    inside, rim = limits(canvas, lung, box)
    canvas.blend(np.where(rim, distance, -1e3), mimic.hu, box=box)
    mask = inside & (distance > 0)
    if isinstance(mimic, Effusion):
        lung[box][mask] = False
    return {mimic.kind: (box, mask)}


def _paint_bulla(canvas: Canvas, bulla: Bulla, lung: np.ndarray) -> dict:
    found = around(canvas, bulla.center, 1.1 * bulla.radius_mm)
    if found is None:
        return {}
    box, place = found
    outer = ellipsoid(place, bulla.radius_mm * np.array(bulla.aspect))
    inside, rim = limits(canvas, lung, box)
    canvas.blend(np.where(rim, outer, -1e3), bulla.wall_hu, box=box)
    inner = outer - np.float32(bulla.wall_mm)
    canvas.blend(np.where(inside, inner, -1e3), GAS_HU, box=box)
    return {bulla.kind: (box, inside & (outer > 0))}


def _smooth(share: np.ndarray) -> np.ndarray:
    """Return a smooth step from 0 to 1."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)


def _layer(
    mimic: Effusion | ApicalCap, share: np.ndarray, x: np.ndarray, wall_mm: np.ndarray
) -> np.ndarray:
    """Return the signed distance of a layer with this share of its thickness."""
    thick: Any = np.float32(mimic.thickness_mm) + _ABSENT_MM
    thick = (thick * share - _ABSENT_MM).astype(np.float32)
    distance = np.minimum(thick - wall_mm, thick)
    return np.where(mimic.side * x > 0, distance, np.float32(-1e3))
