"""Lung nodules of the LIDC-IDRI phantom: kinds, shapes and painting."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .body import Region
from .canvas import Box, Canvas
from .focus import Focus, focus_shape

#: Shares of all nodules. They agree with the real nodules of LIDC-IDRI.
ATTACHED_SHARE = 0.15
GROUND_GLASS_SHARE = 0.33
_WALL_OF_ATTACHED = 0.67  # the other attached nodules touch a vessel
_PART_SOLID_OF_GROUND_GLASS = 0.4
_TISSUE_HU = 40.0


@dataclass(frozen=True)
class NoduleKind:
    """Properties of a nodule that do not depend on its place.

    Attributes:
        malignant: Whether the nodule is malignant.
        radius_mm: Half of the largest diameter.
        attached: ``'wall'`` if the nodule touches the surface of the lung (chest wall,
            mediastinum or diaphragm), ``'vessel'`` if it touches a vessel, or ``''``.
        texture: ``'solid'``, ``'part-solid'`` (ground glass with a solid core) or
            ``'ground glass'``.
    """

    malignant: bool
    radius_mm: float
    attached: str = ''
    texture: str = 'solid'


@dataclass(frozen=True)
class Nodule:
    """A nodule in a lung.

    Attributes:
        kind: The properties that do not depend on the place.
        focus: Center, shape and HU.
    """

    kind: NoduleKind
    focus: Focus

    @property
    def calcified(self) -> bool:
        """Whether the core is calcified."""
        return self.kind.texture == 'solid' and self.focus.core_hu > 100


def draw_nodule_diameter(malignant: bool, rng: np.random.Generator) -> float:
    """Draw a diameter in mm, log-uniform: benign 5 to 13, malignant 7 to 18."""
    low, high = (7, 18) if malignant else (5, 13)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_kind(
    rng: np.random.Generator,
    attached: float = ATTACHED_SHARE,
    ground_glass: float = GROUND_GLASS_SHARE,
) -> NoduleKind:
    """Draw the kind of a nodule.

    Texture and attachment are independent of malignancy and size.

    Args:
        rng: Random number generator.
        attached: Share of the nodules that touch the wall or a vessel.
        ground_glass: Share of the nodules of ground glass, with and without a solid
            core.
    """
    malignant = bool(rng.random() < 0.5)
    radius = draw_nodule_diameter(malignant, rng) / 2
    touching, hazy = rng.random(2)
    return NoduleKind(
        malignant,
        radius,
        _split(touching, attached, ('wall', 'vessel', ''), _WALL_OF_ATTACHED),
        _split(
            hazy,
            ground_glass,
            ('part-solid', 'ground glass', 'solid'),
            _PART_SOLID_OF_GROUND_GLASS,
        ),
    )


def _split(lot: float, share: float, names: tuple[str, str, str], part: float) -> str:
    """Return the first two names in a share of all lots, and the last name else."""
    return names[2] if lot >= share else names[int(lot >= share * part)]


def draw_nodule(
    center: Sequence[float] | np.ndarray, kind: NoduleKind, rng: np.random.Generator
) -> Nodule:
    """Draw a nodule: benign nodules are smooth and round, malignant ones spiculated."""
    malignant, radius_mm = kind.malignant, kind.radius_mm
    size = rng.uniform(0.07, 0.13) if malignant else rng.uniform(0.01, 0.04)
    orders = np.array((2, 3, 4, 5), float)
    outline = np.stack(
        (
            orders,
            size * rng.uniform(0.3, 1.2, 4) * (3 / orders) ** 0.7,
            rng.uniform(0, 6.28, 4),
            rng.normal(0, 0.03, 4),
        ),
        axis=1,
    ).astype(np.float32)
    spikes = (0, 0.0, 0.0)
    if malignant:
        spikes = (
            int(rng.integers(8, 14)),
            float(rng.uniform(0.35, 0.6)),
            float(rng.uniform(0, 6.28)),
        )
    slope, way = rng.uniform(0, 0.3), rng.uniform(0, 6.28)
    hu, core_hu, edge_mm = _draw_density(kind, rng)
    focus = Focus(
        center=(float(center[0]), float(center[1]), float(center[2])),
        radius_mm=radius_mm,
        half_length_mm=radius_mm * float(rng.uniform(0.85, 1.1)),
        slope=(slope * np.cos(way), slope * np.sin(way)),
        outline=outline,
        aspect=float(rng.uniform(0.65, 0.95) if malignant else rng.uniform(0.8, 0.98)),
        angle=float(rng.uniform(0, 3.14)),
        spikes=spikes,
        hu=hu,
        texture_hu=float(rng.uniform(0, 9)),
        core_hu=core_hu,
        edge_mm=edge_mm,
        region=int(Region.LUNG),
        texture_seed=int(rng.integers(2**31)),
    )
    return Nodule(kind, focus)


def _draw_density(
    kind: NoduleKind, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Draw the HU, the HU added in the core, and the width of the margin in mm."""
    if kind.texture == 'solid':
        calcified = not kind.malignant and rng.random() < 0.15
        core_hu = rng.uniform(200, 400) if calcified else 0.0
        return rng.uniform(-60, 70), core_hu, rng.uniform(0.8, 1.6)
    hu, edge_mm = rng.uniform(-650, -450), rng.uniform(1.2, 2.4)
    core_hu = rng.uniform(-60, 50) - hu if kind.texture == 'part-solid' else 0.0
    return hu, core_hu, edge_mm


def paint_nodule(
    canvas: Canvas, nodule: Nodule, lung_hu: float
) -> tuple[Box, np.ndarray, np.ndarray] | None:
    """Paint a nodule.

    The nodule replaces the air of the lung. The surroundings of the lung keep their
    HU, and vessels keep their HU in ground glass and beside a nodule that touches a
    vessel.

    Args:
        canvas: Canvas with labels, modified in place.
        nodule: The nodule.
        lung_hu: HU of the lung.

    Returns:
        Box, weights of the nodule, and weights of its shape including the part that
        is hidden by its surroundings; None outside the canvas.
    """
    shape = focus_shape(canvas, nodule.focus)
    if shape is None:
        return None
    box, weight, value = shape
    assert canvas.labels is not None
    before = canvas.hu[box]
    lung = canvas.labels[box] == Region.LUNG
    # Part of the voxel that is lung; 0 in fat, whose HU is between lung and muscle.
    air = np.clip((_TISSUE_HU - before) * np.float32(1 / (_TISSUE_HU - lung_hu)), 0, 1)
    air *= np.clip((-120 - before) * np.float32(1 / 80), 0, 1)
    step = air * (value - np.float32(lung_hu))
    over_vessels = nodule.kind.texture == 'solid' and nodule.kind.attached != 'vessel'
    if over_vessels:
        step = np.where(lung, value - before, step)
    before += weight * step
    return box, weight * (lung if over_vessels else air), weight
