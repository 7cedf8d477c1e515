"""A CT scan as an array in Hounsfield units with its place in the world."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class CTVolume:
    r"""A CT scan.

    The array and all that counts voxels is in the order (z, y, x); all that
    is a place in the world is in the order (x, y, z), in mm, in DICOM's
    patient coordinates (LPS: x to the left, y to the back, z to the head).
    The voxel :math:`(k, j, i)` lies at

    .. math::
        \mathrm{origin} + \mathrm{direction}\,(i\,s_x,\ j\,s_y,\ k\,s_z)^T

    with ``origin`` and ``direction`` as SimpleITK and DICOM have them.

    Args:
        array (np.ndarray): HU.
        spacing_mm (Sequence[float]): Voxel size (z, y, x).
        origin (Sequence[float]): World place (x, y, z) of the centre of voxel
            (0, 0, 0).
        direction (np.ndarray): Its columns are the world directions (x, y, z)
            in which i, j and k rise.

    Shape:
        - array: (D, H, W).
        - direction: (3, 3).

    Raises:
        ValueError: If the array is not 3D, a spacing is not positive, or the
            direction is not orthonormal.
    """

    array: np.ndarray
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: np.ndarray = field(default_factory=lambda: np.eye(3))

    def __post_init__(self) -> None:
        self.array = np.asarray(self.array)
        if self.array.ndim != 3 or self.array.size == 0:
            raise ValueError(
                f'a CT volume has shape (D, H, W), but the array has {self.array.shape}'
            )
        self.spacing_mm = _triple(self.spacing_mm, 'spacing_mm')
        self.origin = _triple(self.origin, 'origin')
        if min(self.spacing_mm) <= 0:
            raise ValueError(
                'spacing_mm must be three positive numbers (z, y, '
                f'x), but is {self.spacing_mm}'
            )
        self.direction = np.asarray(self.direction, float).reshape(3, 3)
        # Headers often round the cosines to four digits
        if not np.allclose(self.direction.T @ self.direction, np.eye(3), atol=1e-3):
            raise ValueError(
                'direction must be an orthonormal 3 x 3 matrix, '
                f'but is {self.direction.tolist()}'
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels (D, H, W)."""
        return self.array.shape

    def index_to_world(self, index: Sequence[float]) -> np.ndarray:
        """World places of voxels.

        Args:
            index (Sequence[float]): Voxel indices (z, y, x); fractions count
                from voxel centres.

        Shape:
            - index: (..., 3).
            - output: (..., 3).

        Returns:
            np.ndarray: World places (x, y, z) in mm.
        """
        steps = np.asarray(index, float) * self.spacing_mm
        return steps[..., ::-1] @ self.direction.T + self.origin

    def world_to_index(self, place: Sequence[float]) -> np.ndarray:
        """Voxel indices of world places, the inverse of the above.

        Args:
            place (Sequence[float]): World places (x, y, z) in mm.

        Shape:
            - place: (..., 3).
            - output: (..., 3).

        Returns:
            np.ndarray: Voxel indices (z, y, x), not rounded.
        """
        steps = (np.asarray(place, float) - self.origin) @ np.linalg.inv(
            self.direction
        ).T
        return steps[..., ::-1] / self.spacing_mm


def _triple(values: Sequence[float], name: str) -> tuple:
    values = tuple(float(value) for value in values)
    if len(values) != 3 or not np.isfinite(values).all():
        raise ValueError(f'{name} must be three finite numbers, but is {values}')
    return values
