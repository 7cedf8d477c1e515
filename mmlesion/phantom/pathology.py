"""Signs of lung diseases: cavities, fungus balls, pleural thickening, background."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas
from .shapes import around, ellipsoid, limits, uneven

#: Radiological signs of chronic pulmonary aspergillosis that are classified.
SIGNS = ('cavity', 'fungus_ball', 'pleural_thickening')
#: Other lung diseases that occur together with the signs.
BACKGROUNDS = ('consolidation', 'ground_glass', 'emphysema', 'bronchiectasis')
#: Lowest and highest thickness of thickened pleura.
THICKNESS_MM = (3.0, 15.0)
#: Density of the gas in cavities and bullae.
GAS_HU = -985.0


@dataclass(frozen=True)
class Cavity:
    """A thick-walled cavity in the lung, with or without a fungus ball.

    Attributes:
        center: (x, y, z) in mm, patient coordinates.
        radius_mm: Approximate radius of the outer surface.
        wall_mm: Thickness of the wall.
        aspect: Relative half axes (x, y, z).
        wall_hu: HU of the wall, soft tissue.
        ball: Radius of the ball relative to the radius of the hole; 0 for no ball.
        ball_hu: Mean HU of the ball.
        tilt: Small offset (x, z) of the ball from the posterior position.
        seed: Seed of the uneven surfaces.
    """

    center: tuple[float, float, float]
    radius_mm: float
    wall_mm: float
    aspect: tuple[float, float, float]
    wall_hu: float
    ball: float
    ball_hu: float
    tilt: tuple[float, float]
    seed: int

    @classmethod
    def draw(
        cls,
        center: Sequence[float] | np.ndarray,
        radius_mm: float,
        rng: np.random.Generator,
    ) -> 'Cavity':
        """Draw all properties except position and size.

        The diameter of a ball is 0.65 to 0.85 times the diameter of the hole.
        """
        return cls(
            (float(center[0]), float(center[1]), float(center[2])),
            float(radius_mm),
            float(rng.uniform(2.5, 5) * radius_mm / 20 + 1),
            tuple(rng.uniform(0.8, 1, 3).tolist()),
            float(rng.uniform(20, 60)),
            float(rng.uniform(0.65, 0.85)),
            float(rng.uniform(35, 75)),
            tuple(rng.uniform(-0.35, 0.35, 2).tolist()),
            int(rng.integers(2**31)),
        )


@dataclass(frozen=True)
class Thickening:
    """A lumpy crescent of soft tissue between the chest wall and the lung.

    The lumps are about 2 cm wide and are included by the refined lung mask (Zusag et
    al., Sec. 2.1). A smooth crescent would look like a differently shaped chest wall.
    The thickness is uniform between 3 and 15 mm, independent of the severity, and 3 mm
    or more at all visits.

    Attributes:
        center: (x, y, z) in mm, on the surface of the lung.
        reach_mm: Extent along the wall from the center.
        thickness_mm: Greatest thickness, that of the highest lumps.
        hu: HU of the soft tissue.
        seed: Seed of the uneven surface.
    """

    center: tuple[float, float, float]
    reach_mm: float
    thickness_mm: float
    hu: float
    seed: int

    @classmethod
    def draw(
        cls,
        center: Sequence[float] | np.ndarray,
        reach_mm: float,
        rng: np.random.Generator,
    ) -> 'Thickening':
        """Draw all properties except position and extent."""
        return cls(
            (float(center[0]), float(center[1]), float(center[2])),
            float(reach_mm),
            float(rng.uniform(*THICKNESS_MM)),
            float(rng.uniform(20, 65)),
            int(rng.integers(2**31)),
        )


@dataclass(frozen=True)
class Background:
    """A part of the lung with a disease that is not one of the signs.

    Attributes:
        kind: One of :data:`BACKGROUNDS`.
        center: (x, y, z) in mm.
        reach_mm: Approximate half size.
        strength: 0 to 1.
        root: (x, y, z) in mm, origin of the bronchi of this lung.
        seed: Seed of the uneven shapes.
    """

    kind: str
    center: tuple[float, float, float]
    reach_mm: float
    strength: float
    root: tuple[float, float, float]
    seed: int


def paint_cavity(
    canvas: Canvas,
    cavity: Cavity,
    lung: np.ndarray,
    size: float = 1.0,
    with_ball: bool = True,
) -> dict[str, tuple]:
    """Paint a cavity and its ball, which lies posteriorly with air in front of it.

    Args:
        canvas: Canvas, modified in place.
        cavity: The cavity.
        lung: Mask of the lung; only lung is painted over.
        size: Fraction of the final size.
        with_ball: Whether the ball is already present.

    Shape:
        - lung: (D, H, W)

    Returns:
        For each sign, its box and the mask in the box: the cavity with wall and
        hole, and the ball. Empty outside the canvas.
    """
    radius, wall = cavity.radius_mm * size, cavity.wall_mm * size
    found = around(canvas, cavity.center, 1.25 * radius)
    if found is None:
        return {}
    box, place = found
    half = radius * np.array(cavity.aspect)
    outer = ellipsoid(place, half) + np.float32(0.06 * radius) * uneven(
        place, 1.5 * radius, cavity.seed
    )
    inner = outer - np.float32(wall) * (
        1 + np.float32(0.2) * uneven(place, radius, cavity.seed + 1)
    )
    inside, rim = limits(canvas, lung, box)
    canvas.blend(np.where(rim, outer, -1e3), cavity.wall_hu, box=box)
    canvas.blend(np.where(inside, inner, -1e3), GAS_HU, box=box)
    masks = {'cavity': (box, inside & (outer > 0))}
    if with_ball and cavity.ball:
        hole = half * (1 - wall / min(half))
        ball = cavity.ball * hole
        # The patient is supine: the ball falls back until it rests on the wall.
        way = np.array((cavity.tilt[0], 1, cavity.tilt[1]))
        shift = (hole - 0.8 * ball) * way / np.linalg.norm(way)
        moved = [c - np.float32(s) for c, s in zip(place, shift)]
        distance = ellipsoid(moved, ball) + np.float32(0.06 * radius) * uneven(
            place, 0.7 * radius, cavity.seed + 2
        )
        np.minimum(distance, inner + np.float32(0.5), out=distance)
        # Matted hyphae with some air between them.
        hu = cavity.ball_hu + 20 * uneven(place, 6, cavity.seed + 3)
        hu -= 400 * np.clip(uneven(place, 9, cavity.seed + 4) - 0.9, 0, 1)
        canvas.blend(np.where(inside, distance, -1e3), hu, box=box)
        masks['fungus_ball'] = (box, inside & (distance > 0))
    return masks


def paint_thickening(
    canvas: Canvas,
    thickening: Thickening,
    lung: np.ndarray,
    wall_mm: np.ndarray,
    size: float = 1.0,
) -> dict[str, tuple]:
    """Paint thickened pleura: a crescent along the chest wall.

    Args:
        canvas: Canvas, modified in place.
        thickening: The thickening.
        lung: As in :func:`paint_cavity`.
        wall_mm: Distance from the outer surface of the lung, positive in the lung, from
            :func:`mmlesion.phantom.organs.pleura_mm`.
        size: Fraction of the final thickness.

    Shape:
        - lung, wall_mm: (D, H, W)

    Returns:
        As in :func:`paint_cavity`.
    """
    found = around(canvas, thickening.center, thickening.reach_mm)
    if found is None:
        return {}
    box, place = found
    far = sum(np.square(c / np.float32(thickening.reach_mm)) for c in place)
    lumps = 0.65 + np.float32(0.7) * uneven(place, 22, thickening.seed)
    # Full thickness out to 0.7 of the reach, then thinner until the end.
    thick = (
        np.float32(max(thickening.thickness_mm * size, THICKNESS_MM[0]))
        * np.minimum(2 * (1 - far), 1)
        * np.clip(lumps, 0.3, 1)
    )
    distance = thick - wall_mm[box]
    np.minimum(distance, thick, out=distance)
    inside, rim = limits(canvas, lung, box)
    canvas.blend(np.where(rim, distance, -1e3), thickening.hu, box=box)
    return {'pleural_thickening': (box, inside & (distance > 0))}


def paint_background(
    canvas: Canvas, disease: Background, lung: np.ndarray, size: float = 1.0
) -> None:
    """Paint a lung disease that is not one of the signs.

    Args:
        canvas: Canvas, modified in place.
        disease: The disease.
        lung: As in :func:`paint_cavity`.
        size: Fraction of the final size.
    """
    if disease.kind == 'bronchiectasis':
        _paint_bronchi(canvas, disease, lung, size)
        return
    reach = disease.reach_mm * size
    found = around(canvas, disease.center, 1.4 * reach)
    if found is None:
        return
    box, place = found
    depth = ellipsoid(place, np.full(3, reach))
    for wave, share in ((1.2, 0.3), (0.45, 0.12)):
        depth = depth + np.float32(share * reach) * uneven(
            place, wave * reach, disease.seed
        )
    inside, rim = limits(canvas, lung, box)
    depth = np.where(rim, depth, np.float32(-1e3))
    if disease.kind == 'consolidation':
        hu = 25 + 15 * uneven(place, 12, disease.seed + 1)
        # Air bronchograms: bronchi remain open as thin dark branches.
        open_mm = (
            1.1
            - 6 * np.abs(uneven(place, 45, disease.seed + 2))
            - 6 * np.abs(uneven(place, 40, disease.seed + 3))
        )
        hu -= 850 * np.clip(open_mm + 0.5, 0, 1)
        canvas.blend(depth, hu, box=box, edge_mm=max(6.0, canvas.edge_mm))
        return
    view = canvas.hu[box]
    weight = np.clip(depth / 12, 0, 1) * (inside & (view < -600))
    if disease.kind == 'ground_glass':
        patchy = 0.7 + 0.3 * uneven(place, 14, disease.seed + 1)
        view += weight * np.float32(180 + 150 * disease.strength) * patchy
    else:  # emphysema: low-density lung with holes of a few mm
        holes = (
            uneven(place, 16, disease.seed + 1)
            + uneven(place, 13, disease.seed + 2)
            - np.float32(1.1 - 0.5 * disease.strength)
        )
        view -= weight * np.float32(35)
        share = weight * np.clip(holes * 3, 0, 1)
        view += share * (np.float32(-970) - view)


def _paint_bronchi(canvas, disease, lung, size):
    """Paint widened bronchi with thick walls, from the root to the periphery."""
    rng = np.random.default_rng(disease.seed)
    root, end = np.array(disease.root), np.array(disease.center)
    count = 3 + int(4 * disease.strength)
    for tip in end + rng.normal(0, 0.5 * disease.reach_mm, (count, 3)):
        start = root + 0.35 * (tip - root)
        middle = (start + tip) / 2 + rng.normal(0, 5, 3)
        radii = size * rng.uniform(2.2, 4.2) * rng.uniform(0.85, 1.15, 3)
        points = np.c_[np.stack((start, middle, tip)), radii]
        reach = radii.max() + 3
        box = canvas.box(points[:, :3].min(0) - reach, points[:, :3].max(0) + reach)
        if box is None:
            continue
        before = canvas.hu[box].copy()
        for grow, hu in ((1.6, 20.0), (0.0, -960.0)):
            canvas.tube(points + (0, 0, 0, grow), hu)
        np.copyto(canvas.hu[box], before, where=~lung[box])
