"""Voxel grid on which tissues are painted in order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

AIR_HU = -1000.0

#: Index of a box of voxels (z, y, x).
Box = tuple[slice, slice, slice]


class Canvas:
    """HU values on a regular grid of patient coordinates.

    Patient coordinates are in millimeters: x to the right of the image, y downwards
    (front to back), z toward the feet. The origin of x and y is the center of the
    body. Shapes are painted from signed distances in mm (positive inside). Their edge
    is a linear ramp of width ``edge_mm``, which models partial volumes.

    Args:
        z_mm, y_mm, x_mm: Coordinates of the voxel centers along each axis.
        warp: Smooth displacement of the anatomy in the slice plane, from
            ``Patient.warp``: two arrays of shapes (D, H, 1) and (D, 1, W) that are
            added to x and to y. None disables it.
        with_labels: Whether to store the label that was painted last in each voxel.

    Shape:
        - ``hu``: (D, H, W) = (z, y, x), float32.
        - ``labels``: (D, H, W) uint8, or None.
    """

    def __init__(
        self,
        z_mm: ArrayLike,
        y_mm: ArrayLike,
        x_mm: ArrayLike,
        warp: tuple[np.ndarray, np.ndarray] | None = None,
        with_labels: bool = False,
    ) -> None:
        self.z = np.asarray(z_mm, np.float32)[:, None, None]
        self.y = np.asarray(y_mm, np.float32)[None, :, None]
        self.x = np.asarray(x_mm, np.float32)[None, None, :]
        shape = (self.z.size, self.y.size, self.x.size)
        if warp is None:
            warp = (
                np.zeros((shape[0], shape[1], 1), np.float32),
                np.zeros((shape[0], 1, shape[2]), np.float32),
            )
        self.shift_x, self.shift_y = warp
        self.reach_mm = float(max(np.abs(w).max() for w in warp)) + 2.0
        self.hu = np.full(shape, AIR_HU, np.float32)
        self.labels = np.zeros(shape, np.uint8) if with_labels else None
        spacing = abs(float(self.x.flat[1] - self.x.flat[0])) if shape[2] > 1 else 1.0
        self.edge_mm = max(1.0, spacing)

    def box(
        self, low: Sequence[float] | np.ndarray, high: Sequence[float] | np.ndarray
    ) -> Box | None:
        """Return the index of the voxels between corners (x, y, z) in mm, or None."""
        index = []
        for axis, coordinates in zip((2, 1, 0), (self.z, self.y, self.x)):
            pad = self.edge_mm if axis == 2 else self.reach_mm
            c = coordinates.ravel()
            first = int(np.searchsorted(c, low[axis] - pad))
            last = int(np.searchsorted(c, high[axis] + pad, side='right'))
            if first >= last:
                return None
            index.append(slice(first, last))
        return index[0], index[1], index[2]

    def coordinates(
        self, box: Box | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return warped x and y (full size) and z (D, 1, 1) in mm, for a box or all."""
        if box is None:
            return self.x + self.shift_x, self.y + self.shift_y, self.z
        dz, dy, dx = box
        return (
            self.x[:, :, dx] + self.shift_x[dz, dy],
            self.y[:, dy] + self.shift_y[dz, :, dx],
            self.z[dz],
        )

    def blend(
        self,
        distance_mm: np.ndarray,
        hu: Any,
        label: int = 0,
        box: Box | None = None,
        edge_mm: float | None = None,
    ) -> np.ndarray:
        """Paint where the signed distance is positive, and return the weights.

        Args:
            distance_mm: Signed distance, positive inside, in the shape of the box.
            hu: A number, or an array in the shape of the box.
            label: Label of the voxels that are covered by more than half.
            box: Index from :meth:`box`. None selects the whole canvas.
            edge_mm: Width of the ramp at the surface.
        """
        box = box or (slice(None), slice(None), slice(None))
        weight = distance_mm * np.float32(1 / (edge_mm or self.edge_mm))
        weight += np.float32(0.5)
        np.clip(weight, 0, 1, out=weight)
        view = self.hu[box]
        if np.isscalar(hu):
            hu = np.float32(hu)  # pyright: ignore[reportArgumentType]: never complex
        view += weight * (hu - view)
        if self.labels is not None:
            self.labels[box][weight > 0.5] = label
        return weight

    def ellipsoid(
        self,
        center: Sequence[float] | np.ndarray,
        radii: Sequence[float] | np.ndarray,
        hu: Any,
        label: int = 0,
        angle: float = 0.0,
        wobble: Any = 0.0,
        edge_mm: float | None = None,
    ) -> tuple[Box, np.ndarray] | None:
        """Paint an ellipsoid that is rotated in the slice plane.

        Args:
            center: (x, y, z) in mm.
            radii: (x, y, z) in mm.
            hu: HU inside.
            label: Label inside.
            angle: Rotation in radians.
            wobble: Number or array in the shape of the canvas, added to the distance.
            edge_mm: Width of the ramp at the surface.

        Returns:
            Box and signed distance, or None if the ellipsoid is outside the canvas.
        """
        found = self.ellipsoid_distance(center, radii, angle)
        if found is None:
            return None
        box, distance = found
        if not np.isscalar(wobble):
            distance = distance + wobble[box]
        self.blend(distance, hu, label, box, edge_mm)
        return box, distance

    def ellipsoid_distance(
        self,
        center: Sequence[float] | np.ndarray,
        radii: Sequence[float] | np.ndarray,
        angle: float = 0.0,
    ) -> tuple[Box, np.ndarray] | None:
        """Return box and approximate signed distance (mm) of an ellipsoid, or None."""
        reach = max(radii[0], radii[1]) if angle else None
        rx, ry = (reach, reach) if reach else (radii[0], radii[1])
        box = self.box(
            (center[0] - rx, center[1] - ry, center[2] - radii[2]),
            (center[0] + rx, center[1] + ry, center[2] + radii[2]),
        )
        if box is None:
            return None
        x, y, z = self.coordinates(box)
        x, y = x - np.float32(center[0]), y - np.float32(center[1])
        if angle:
            c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            x, y = c * x + s * y, c * y - s * x
        q = np.square(x * np.float32(1 / radii[0]))
        q += np.square(y * np.float32(1 / radii[1]))
        q += np.square((z - np.float32(center[2])) * np.float32(1 / radii[2]))
        np.sqrt(q, out=q)
        return box, (1 - q) * np.float32(min(radii))

    def tube(
        self, points: ArrayLike, hu: Any, label: int = 0, edge_mm: float | None = None
    ) -> None:
        """Paint cones with round ends through a list of (x, y, z, radius) points."""
        points = np.asarray(points, np.float32)
        for start, end in zip(points[:-1], points[1:]):
            radius = max(start[3], end[3])
            low = np.minimum(start[:3], end[:3]) - radius
            high = np.maximum(start[:3], end[:3]) + radius
            box = self.box(low, high)
            if box is None:
                continue
            x, y, z = self.coordinates(box)
            ax = end[:3] - start[:3]
            x, y, z = x - start[0], y - start[1], z - start[2]
            along = (x * ax[0] + y * ax[1] + z * ax[2]) * np.float32(
                1 / max(float(ax @ ax), 1e-6)
            )
            np.clip(along, 0, 1, out=along)
            distance = np.square(x - along * ax[0])
            distance += np.square(y - along * ax[1])
            distance += np.square(z - along * ax[2])
            np.sqrt(distance, out=distance)
            distance = start[3] + along * (end[3] - start[3]) - distance
            self.blend(distance, hu, label, box, edge_mm)
