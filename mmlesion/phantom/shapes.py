"""Uneven values, balls, ellipsoids and the limits of the lung, for lung diseases."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from .canvas import Box, Canvas


def uneven(place: Sequence[np.ndarray], wave_mm: float, seed: int) -> np.ndarray:
    """Return smooth random values of about -1 to 1 as a function of position.

    Args:
        place: x, y and z in mm, in shapes that broadcast.
        wave_mm: Length scale of the values.
        seed: Seed of the waves.
    """
    rng = np.random.default_rng(seed)
    total: Any = 0
    for _ in range(4):
        way = rng.normal(size=3)
        way *= 2 * np.pi / (wave_mm * rng.uniform(0.7, 1.5) * np.linalg.norm(way))
        phase = np.float32(rng.uniform(0, 2 * np.pi))
        x, y, z = (np.float32(w) * c for w, c in zip(way, place))
        total = total + np.sin(x + y + z + phase)
    return total * np.float32(0.5)


def around(
    canvas: Canvas, center: Sequence[float] | np.ndarray, reach_mm: float
) -> tuple[Box, tuple[np.ndarray, np.ndarray, np.ndarray]] | None:
    """Return the box of a ball and x, y, z from its center in mm; None outside.

    Args:
        canvas: The canvas.
        center: (x, y, z) in mm.
        reach_mm: Radius of the ball.
    """
    center = np.asarray(center)
    box = canvas.box(center - reach_mm, center + reach_mm)
    if box is None:
        return None
    return box, (
        canvas.x[:, :, box[2]] - np.float32(center[0]),
        canvas.y[:, box[1]] - np.float32(center[1]),
        canvas.z[box[0]] - np.float32(center[2]),
    )


def ellipsoid(place: Sequence[np.ndarray], half_axes: np.ndarray) -> np.ndarray:
    """Return the approximate signed distance of an ellipsoid in mm, positive inside.

    Args:
        place: x, y and z from the center in mm, in shapes that broadcast.
        half_axes: (x, y, z) in mm.
    """
    far = sum(np.square(c * np.float32(1 / h)) for c, h in zip(place, half_axes))
    return (1 - np.sqrt(far)) * np.float32(min(half_axes))


def limits(canvas: Canvas, lung: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Return the lung in a box, without and with the partial voxels at its surface.

    Args:
        canvas: The canvas.
        lung: Mask of the lung.
        box: Index of the box.

    Shape:
        - lung: (D, H, W)
    """
    inside = lung[box]
    rim = ndimage.binary_dilation(inside) & (canvas.hu[box] < 60)
    return inside, inside | rim
