"""CT scan as an array in Hounsfield units with its position in the world."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from .geometry import SourceImage, VoxelGrid, make_grid


@dataclass
class CTVolume:
    r"""A CT scan.

    The array and all voxel quantities are in the order (z, y, x).
    World positions are in the order (x, y, z), in mm, in DICOM patient
    coordinates (LPS: x to the left, y to the back, z to the head). The voxel
    :math:`(k, j, i)` has its center at

    .. math::
        \mathrm{origin} + \mathrm{direction}\,(i\,s_x,\ j\,s_y,\ k\,s_z)^T

    with ``origin`` and ``direction`` as in SimpleITK and DICOM.

    :func:`mmlesion.ct.read_volume` reorders the axes of a file to axial slices.
    ``source`` keeps the voxel grid of the file, and :meth:`index_to_source`
    converts voxels of the array to voxels of the file.

    Args:
        array: HU.
        spacing_mm: Voxel size (z, y, x).
        origin: World position (x, y, z) of the center of voxel (0, 0, 0).
        direction: Matrix whose columns are the world directions (x, y, z) in
            which i, j and k increase.
        source: File from which the volume was read, if any.

    Shape:
        - array: (D, H, W).
        - direction: (3, 3).

    Raises:
        ValueError: If the array is not 3-D, a spacing is not positive, or the
            direction is not orthonormal.
    """

    array: np.ndarray
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: np.ndarray = field(default_factory=lambda: np.eye(3))
    source: SourceImage | None = None

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
        # Headers often round the cosines to four digits.
        if not np.allclose(self.direction.T @ self.direction, np.eye(3), atol=1e-3):
            raise ValueError(
                'direction must be an orthonormal 3 x 3 matrix, '
                f'but is {self.direction.tolist()}'
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels (D, H, W)."""
        return self.array.shape

    @property
    def grid(self) -> VoxelGrid:
        """Voxel grid of the array itself, in the order (x, y, z)."""
        return make_grid(
            self.shape[::-1], self.spacing_mm[::-1], self.origin, self.direction
        )

    @property
    def source_grid(self) -> VoxelGrid:
        """Voxel grid of the file, or of the array without a file."""
        return self.grid if self.source is None else self.source.grid

    def index_to_world(self, index: ArrayLike) -> np.ndarray:
        """Convert voxel indices (z, y, x) to world positions (x, y, z) in mm.

        Args:
            index: Voxel indices; integers are voxel centers.

        Shape:
            - index, output: (..., 3).
        """
        steps = np.asarray(index, float) * self.spacing_mm
        return steps[..., ::-1] @ self.direction.T + self.origin

    def world_to_index(self, place: ArrayLike) -> np.ndarray:
        """Convert world positions (x, y, z) in mm to voxel indices (z, y, x).

        Args:
            place: World positions.

        Shape:
            - place, output: (..., 3). The indices are not rounded.
        """
        steps = (np.asarray(place, float) - self.origin) @ np.linalg.inv(
            self.direction
        ).T
        return steps[..., ::-1] / self.spacing_mm

    def index_to_source(self, index: ArrayLike) -> np.ndarray:
        """Convert voxel indices (z, y, x) to indices (i, j, k) of the file.

        Args:
            index: Voxel indices; integers are voxel centers.

        Shape:
            - index, output: (..., 3). The indices are not rounded.
        """
        return self.source_grid.world_to_index(self.index_to_world(index))

    def source_to_index(self, index: ArrayLike) -> np.ndarray:
        """Convert indices (i, j, k) of the file to voxel indices (z, y, x).

        Args:
            index: Indices of the file; integers are voxel centers.

        Shape:
            - index, output: (..., 3). The indices are not rounded.
        """
        return self.world_to_index(self.source_grid.index_to_world(index))


def _triple(values: Sequence[float], name: str) -> tuple:
    values = tuple(float(value) for value in values)
    if len(values) != 3 or not np.isfinite(values).all():
        raise ValueError(f'{name} must be three finite numbers, but is {values}')
    return values
