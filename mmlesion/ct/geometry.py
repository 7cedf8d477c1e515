"""Voxel grid of an image file, and the reference from a volume to its file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Triple = tuple[float, float, float]

#: Ends of the patient axes x, y and z in DICOM's coordinates: low, high.
_AXIS_ENDS = (('R', 'L'), ('A', 'P'), ('I', 'S'))


@dataclass(frozen=True)
class VoxelGrid:
    r"""Voxel grid of an image file, in the axis order of that file.

    The voxel with index :math:`(i, j, k)` has its center at

    .. math::
        \mathrm{origin} + \mathrm{direction}\,(i\,s_i,\ j\,s_j,\ k\,s_k)^T

    in DICOM patient coordinates in mm (LPS: x to the left, y to the back, z
    to the head). Indices are those of SimpleITK, of ``nibabel`` for a NIfTI
    file, and (column, row, slice) for a DICOM series whose slices are sorted
    along their normal. Voxel centers have integer indices, so a voxel extends
    from -0.5 to +0.5 around its index.

    Args:
        size: Number of voxels along (i, j, k).
        spacing_mm: Voxel size along (i, j, k).
        origin: World position (x, y, z) of the center of voxel (0, 0, 0).
        direction: Rows of the matrix whose columns are the world directions
            in which i, j and k increase.
    """

    size: tuple[int, int, int]
    spacing_mm: Triple = (1.0, 1.0, 1.0)
    origin: Triple = (0.0, 0.0, 0.0)
    direction: tuple[Triple, Triple, Triple] = (
        (1.0, 0.0, 0.0),
        (0.0, 1.0, 0.0),
        (0.0, 0.0, 1.0),
    )

    @property
    def affine(self) -> np.ndarray:
        """Matrix from (i, j, k, 1) to (x, y, z, 1) in mm, LPS. Shape (4, 4)."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction) * self.spacing_mm
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def axis_codes(self) -> str:
        """Patient directions in which i, j and k increase, such as ``'LPS'``.

        An oblique axis has the letter of the closest patient axis.
        """
        matrix = np.asarray(self.direction)
        codes = ''
        for column in matrix.T:
            axis = int(np.abs(column).argmax())
            codes += _AXIS_ENDS[axis][int(column[axis] > 0)]
        return codes

    @property
    def field_of_view_mm(self) -> Triple:
        """Extent of the image along (i, j, k), including the outer voxel halves."""
        i, j, k = (n * s for n, s in zip(self.size, self.spacing_mm))
        return (i, j, k)

    def index_to_world(self, index: ArrayLike) -> np.ndarray:
        """Convert indices (i, j, k) to world positions (x, y, z) in mm.

        Shape:
            - index, output: (..., 3).
        """
        affine = self.affine
        return np.asarray(index, float) @ affine[:3, :3].T + affine[:3, 3]

    def world_to_index(self, position: ArrayLike) -> np.ndarray:
        """Convert world positions (x, y, z) in mm to indices (i, j, k), not rounded.

        Shape:
            - position, output: (..., 3).
        """
        affine = self.affine
        steps = np.asarray(position, float) - affine[:3, 3]
        return steps @ np.linalg.inv(affine[:3, :3]).T

    def to_dict(self) -> dict[str, Any]:
        """Return lists and numbers for JSON."""
        return dict(
            size=list(self.size),
            spacing_mm=list(self.spacing_mm),
            origin_mm=list(self.origin),
            direction=[list(row) for row in self.direction],
            affine_lps=self.affine.tolist(),
            axis_codes=self.axis_codes,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> 'VoxelGrid':
        """Create a grid from the output of :meth:`to_dict`.

        Raises:
            ValueError: If a key is missing.
        """
        try:
            return make_grid(
                values['size'],
                values['spacing_mm'],
                values['origin_mm'],
                values['direction'],
            )
        except KeyError as error:
            raise ValueError(f'not a voxel grid: key {error} is missing') from None


def make_grid(
    size: Sequence[int],
    spacing_mm: Sequence[float],
    origin: Sequence[float],
    direction: Sequence[Sequence[float]] | np.ndarray,
) -> VoxelGrid:
    """Build a grid from sequences of numbers."""
    rows = np.asarray(direction, float).reshape(3, 3)
    ni, nj, nk = (int(n) for n in size)
    si, sj, sk = (float(s) for s in spacing_mm)
    x, y, z = (float(value) for value in origin)
    first, second, third = (tuple(row) for row in rows.tolist())
    return VoxelGrid((ni, nj, nk), (si, sj, sk), (x, y, z), (first, second, third))


@dataclass(frozen=True)
class SourceImage:
    """The file or DICOM series from which a volume was read.

    Args:
        path: File or folder that was passed to the reader.
        kind: ``'dicom'``, ``'nifti'``, ``'metaimage'`` or ``'nrrd'``.
        grid: Voxel grid of the file.
        series_uid: UID of the DICOM series; empty for other files.
        slice_paths: DICOM only: the file of each slice, in the order of k.
        slice_numbers: DICOM only: InstanceNumber of each slice, in the order of k;
            -1 if missing.
        warnings: Sentences on repairs and assumptions of the reader.
    """

    path: str
    kind: str
    grid: VoxelGrid
    series_uid: str = ''
    slice_paths: tuple[str, ...] = ()
    slice_numbers: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
