"""Free positions in the lungs of a simulated patient."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from mmlesion.ct.projections import SIDES, region_slices

from .body import Enhancement, Patient, Region, paint_layers
from .canvas import Canvas
from .mimics import Effusion, effusion_mm
from .organs import chest_wall_mm, paint_organs, pleura_mm

# Top and base of the standard patient's lungs, with a margin of some mm.
_TOP_MM, _BASE_MM = -28.0, 294.0
_COARSE_MM = 4.0


def lung_grid(
    patient: Patient, size: int, shift_mm: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the coordinates (z, y, x) in mm of voxels that cover the lungs.

    Args:
        patient: The patient.
        size: Width and height in voxels.
        shift_mm: Displacement (z, y, x) of the grid.
    """
    half = float(patient.half_axes(100 * patient.scale_z)[0]) + 1.3 * patient.fat_mm
    step = 2.06 * half / size
    across = (np.arange(size) - (size - 1) / 2) * step
    depth = round(size * 27 / 32)
    top, base = _TOP_MM * patient.scale_z, _BASE_MM * patient.scale_z
    z = top + (base - top) * (np.arange(depth) + 0.5) / depth
    return z + shift_mm[0], across + shift_mm[1], across + shift_mm[2]


class LungSpace:
    """Free positions in the lungs of a patient, in mm of the patient.

    Args:
        patient: The patient.

    Attributes:
        axes: Coordinates (z, y, x) in mm of a coarse grid.
        scale: Size along x, y, z relative to the standard patient.
        hila: Origin (x, y, z) of the bronchi of each side.
        depth: Distance from the surface of the lung in mm, 0 outside, (D, H, W).
        surface: Positions on the chest wall, (D, H, W) bool.
        slices: Index of each lung region.
        taken: Center and extent of the objects that are already placed.
    """

    def __init__(self, patient: Patient) -> None:
        z, y, x = lung_grid(patient, 96, (0, 0, 0))
        z, y, x = (np.arange(c[0], c[-1], _COARSE_MM) for c in (z, y, x))
        canvas = Canvas(z, y, x, patient.warp(z, y, x), True)
        wobble = patient.wobble(canvas)
        depth = paint_layers(canvas, patient, Enhancement(0.0), wobble)
        paint_organs(canvas, patient, Enhancement(0.0), depth, wobble)
        self._lung = canvas.labels == Region.LUNG
        self._wall_mm = pleura_mm(canvas, patient, depth)
        self.axes = z, y, x
        # The positions at which vessels.py and organs.py start the vessels and bronchi.
        self.scale = (patient.scale_x, patient.scale_y, patient.scale_z)
        self.hila = {
            side: tuple(np.multiply((sign * 42, 10, 130), self.scale))
            for side, sign in zip(SIDES, (1, -1))
        }
        self._measure_depth()
        wall = chest_wall_mm(canvas, patient, depth)
        # Require lung next to the wall, which excludes the recess beside the diaphragm.
        near = ndimage.maximum_filter(self.depth, 2 * round(14 / _COARSE_MM) + 1)
        self.surface = self._lung & (wall > 0) & (wall < 1.5 * _COARSE_MM) & (near > 12)
        # z decreases toward the head here, and increases toward the head in a scan.
        self.slices = {
            name: (slice(z.size - part[0].stop, z.size - part[0].start), *part[1:])
            for name, part in region_slices(self._lung.shape).items()
        }
        self.taken: tuple[tuple[np.ndarray, float], ...] = ()

    def _measure_depth(self) -> None:
        distance = ndimage.distance_transform_edt(self._lung)
        self.depth = np.asarray(distance) * _COARSE_MM

    def block(self, effusion: Effusion) -> None:
        """Exclude the part of the lung that an effusion takes."""
        z, y, x = self.axes
        fluid = (
            effusion_mm(effusion, x, y[:, None], z[:, None, None], self._wall_mm) > 0
        )
        self._lung = self._lung & ~fluid
        self.surface = self.surface & ~fluid
        self._measure_depth()

    def find(
        self,
        allowed: np.ndarray,
        region: str,
        reach: float,
        rng: np.random.Generator,
        apart: float = 1.0,
    ) -> np.ndarray | None:
        """Return a position (x, y, z) whose extent is inside the region, or None.

        Args:
            allowed: Positions that may be chosen.
            region: One of :data:`mmlesion.ct.projections.REGIONS`.
            reach: Extent of the object in mm.
            rng: Random number generator.
            apart: Distance from the objects in ``taken``, relative to the sum of both
                extents.

        Shape:
            - allowed: (D, H, W), as ``depth`` and ``surface``
        """
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
