"""Branching vessels of lung, liver and mesentery."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from .body import Enhancement, Patient
from .canvas import Canvas


def grow_tree(
    root: Sequence[float] | np.ndarray,
    way: Sequence[float] | np.ndarray,
    length_mm: float,
    radius_mm: float,
    generations: int,
    rng: np.random.Generator,
    spread: float = 0.55,
    center: Sequence[float] | np.ndarray | None = None,
) -> np.ndarray:
    """Return the segments of a randomly branching tree.

    Each branch ends in two branches that preserve the sum of the cubed radii (Murray's
    law) and spread to both sides. All branches bend away from ``center``.

    Args:
        root: Start (x, y, z) in mm.
        way: Direction (x, y, z) of the first branch.
        length_mm: Length of the first branch.
        radius_mm: Radius of the first branch.
        generations: Number of branching levels.
        rng: Random number generator.
        spread: Lateral component of the direction of a child.
        center: Optional point (x, y, z) that the branches bend away from.

    Shape:
        - Output: (2**(generations + 1) - 1, 8): start x, y, z, radius and end x, y, z,
          radius.
    """
    start, ways = np.asarray([root], float), np.asarray([way], float)
    length, radius = np.array([float(length_mm)]), np.array([float(radius_mm)])
    rows = []
    for generation in range(generations + 1):
        ways = ways / np.linalg.norm(ways, axis=1, keepdims=True)
        end = start + ways * length[:, None]
        share = rng.uniform(0.35, 0.65, len(start))
        children = np.stack((share, 1 - share)) ** (1 / 3) * radius
        rows.append(
            np.concatenate(
                (start, radius[:, None], end, children.max(0)[:, None]), axis=1
            )
        )
        if generation == generations:
            break
        side = np.cross(ways, rng.normal(size=ways.shape))
        side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-6
        turn = rng.uniform(0.6, 1.5, (2, len(start), 1)) * spread
        children_ways = np.stack((ways + side * turn[0], ways - side * turn[1]))
        if center is not None:
            away = end - np.asarray(center)
            norm = np.linalg.norm(away, axis=1, keepdims=True) + 1e-6
            children_ways += 0.25 * away / norm
        start, ways = np.concatenate((end, end)), children_ways.reshape(-1, 3)
        radius = children.ravel()
        length = np.concatenate((length, length)) * rng.uniform(0.72, 0.98, len(start))
    return np.concatenate(rows).astype(np.float32)


@lru_cache(maxsize=16)
def _tree(patient: Patient, organ: str) -> np.ndarray:
    rng = patient.generator(f'vessels of {organ}')
    scale = np.array((patient.scale_x, patient.scale_y, patient.scale_z))
    found = []
    if organ == 'lung':
        for side in (-1, 1):
            hilum = np.array((side * 40, 8, 130)) * scale
            for x, y, z in (
                (0.6, -0.4, -0.9),
                (1, -0.6, 0.1),
                (0.9, 0.5, -0.2),
                (0.7, 0.4, 0.9),
                (0.5, -0.4, 0.9),
            ):
                found.append(
                    grow_tree(hilum, (side * x, y, z), 24, 5.0, 6, rng, center=hilum)
                )
    elif organ == 'liver':
        porta = np.array((-48, -14, 295)) * scale
        for way in ((-1, -0.3, -0.3), (-0.7, 0.6, 0.2), (0.6, -1, -0.4)):
            found.append(grow_tree(porta, way, 26, 6.0, 4, rng))
        confluence = np.array((-22, 14, 222)) * scale
        for way in ((-1, 0.1, 0.7), (-0.5, -0.8, 0.5), (0.5, -1, 0.5)):
            found.append(grow_tree(confluence, way, 30, 5.5, 4, rng))
    else:
        for z in (335, 375, 420, 465):
            for way in ((0.7, -1, 0.4), (-0.7, -1, 0.4), (0, -1, 1)):
                found.append(
                    grow_tree(np.array((2, 2, z)) * scale, way, 22, 4.0, 4, rng)
                )
    return np.concatenate(found)


def lung_vessels(patient: Patient) -> np.ndarray:
    """Return the segments of the vessels of both lungs, fixed for a patient.

    Shape:
        - Output: (N, 8): see :func:`grow_tree`. Coordinates are those before
          :meth:`Patient.warp`.
    """
    return _tree(patient, 'lung')


def _paint(canvas: Canvas, segments: np.ndarray, hu: float, only) -> None:
    z = canvas.z.ravel()
    y, x = canvas.y.ravel(), canvas.x.ravel()
    low = np.minimum(segments[:, :3], segments[:, 4:7]) - 12
    high = np.maximum(segments[:, :3], segments[:, 4:7]) + 12
    near = (
        (low[:, 0] < x[-1])
        & (high[:, 0] > x[0])
        & (low[:, 1] < y[-1])
        & (high[:, 1] > y[0])
        & (low[:, 2] < z[-1])
        & (high[:, 2] > z[0])
    )
    for s in segments[near]:
        if max(s[3], s[7]) < 0.7:
            continue
        box = canvas.box(
            np.minimum(s[:3], s[4:7]) - s[3], np.maximum(s[:3], s[4:7]) + s[3]
        )
        if box is None:
            continue
        # Paint only inside the organ, which is identified by the HU of its tissue.
        keep = only(canvas.hu[box])
        if not keep.any():
            continue
        before = canvas.hu[box].copy()
        canvas.tube((s[:4], s[4:]), hu)
        view = canvas.hu[box]
        np.copyto(view, before, where=~keep)


def paint_vessel_trees(
    canvas: Canvas, patient: Patient, enhancement: Enhancement
) -> None:
    """Paint the vessels of lung, liver and mesentery, which are fixed for a patient."""
    level = canvas.z.ravel() / patient.scale_z
    labels = canvas.labels
    canvas.labels = None
    try:
        if level.min() < 290:
            _paint(
                canvas, _tree(patient, 'lung'), enhancement.heart, lambda hu: hu < -300
            )
        if level.max() > 190 and level.min() < 380:
            plain, vein = enhancement.liver, enhancement.vein
            hu = vein + 10 if enhancement.strength > 0.3 else plain - 16
            _paint(
                canvas, _tree(patient, 'liver'), hu, lambda v: np.abs(v - plain) < 70
            )
        if level.max() > 300 and level.min() < 540:
            _paint(
                canvas, _tree(patient, 'mesentery'), enhancement.vein, lambda v: v < 0
            )
    finally:
        canvas.labels = labels
