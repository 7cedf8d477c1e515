"""Part of the surroundings of a nodule that a classifier sees."""

from dataclasses import dataclass

import numpy as np

from .nodule_patches import (
    INPUT_PLANES,
    PATCH_SIZE_PX,
    PHYSICAL_PLANES,
    PHYSICAL_SIDE_MM,
    SIDES_IN_DIAMETERS,
    SLICE_OFFSETS_MM,
)

#: HU outside of a :class:`NoduleExtent`.
OUTSIDE_HU = -1000


@dataclass(frozen=True)
class NoduleExtent:
    """Part of the surroundings that a classifier sees, the same for all nodules.

    Where a CT crop ends, patches repeat its border. How much is repeated depends on
    the size of the nodule and thus on its label. With a common extent that all crops
    contain, nothing is repeated, and the shape of what is visible is the same for all
    nodules.

    Attributes:
        z_mm: Largest distance of a visible slice from the middle of the nodule.
        diameters: Half of the side of the visible square, in diameters.
        physical_mm: Half of the side of the visible square at the physical scale.

    Raises:
        ValueError: If a distance is not a number of at least 0, or a square is empty.
    """

    z_mm: float
    diameters: float
    physical_mm: float = PHYSICAL_SIDE_MM / 2

    def __post_init__(self) -> None:
        if not (self.z_mm >= 0 and self.diameters > 0 and self.physical_mm > 0):
            raise ValueError(
                'an extent needs z_mm of at least 0 and positive diameters and '
                f'physical_mm, got {self.z_mm}, {self.diameters} and {self.physical_mm}'
            )

    def visible(
        self, inputs: str, side: float = SIDES_IN_DIAMETERS[0], physical: bool = False
    ) -> np.ndarray:
        """Pixels of the planes of an input that lie inside the extent.

        Args:
            inputs: Key of :data:`INPUT_PLANES`.
            side: Side of the square of all slices, in diameters.
            physical: The planes of the fixed physical scale.

        Shape:
            - output: (C, 32, 32), bool.
        """
        planes = (PHYSICAL_PLANES if physical else INPUT_PLANES)[inputs]
        pixels = np.arange(PATCH_SIZE_PX) - PATCH_SIZE_PX / 2
        outer = np.maximum(abs(pixels), abs(pixels + 1)) / PATCH_SIZE_PX
        shown = []
        for plane in planes:
            in_z, scale = True, float(side + max(0, plane - len(SLICE_OFFSETS_MM) + 1))
            if plane < len(SLICE_OFFSETS_MM):
                in_z = abs(SLICE_OFFSETS_MM[plane]) <= self.z_mm
            limit = self.diameters
            if physical:
                scale, limit = PHYSICAL_SIDE_MM, self.physical_mm
            inside = outer * scale <= limit + 1e-6
            shown.append(in_z & inside[:, None] & inside)
        return np.stack(shown)

    def contained_in(
        self, diameter_mm: float, reach_z_mm: float, reach_mm: float
    ) -> bool:
        """Whether the surroundings of a nodule contain the extent.

        Args:
            diameter_mm: Diameter of the nodule.
            reach_z_mm: Smaller distance from the middle of the nodule to the first and
                last slice.
            reach_mm: Smallest distance to the outermost rows and columns.
        """
        in_plane_mm = max(self.diameters * diameter_mm, self.physical_mm)
        return reach_z_mm >= self.z_mm and reach_mm >= in_plane_mm
