"""Assignment of lung voxels to the left and right lung."""

import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from .volume import CTVolume

#: Voxel values for neither lung, the patient's left lung and the patient's right lung.
NO_LUNG, LEFT_LUNG, RIGHT_LUNG = 0, 1, 2

_COARSE_MM = 4.0
_SMALL = 0.1  # of the largest part's volume: a smaller part is not a separate lung
_CORE_SHARE = 0.1  # of the mask: a smaller eroded mask is not informative
_MUSCLE_HU = 0.0
_DEEP_MM = 12.0  # muscle of the chest wall is thinner than twice this
_NEAR_MM = 60.0  # maximum distance of mediastinum, or air behind the wall, from a lung
_AIR_HU = -500.0
_DOUBT = 0.1  # of a balance from -2 to 2: less decides nothing


def left_right_lungs(mask: np.ndarray, volume: CTVolume) -> np.ndarray:
    """Label the left and the right lung, also if the lungs touch.

    On a grid of about 4 mm, the mask is eroded until its large parts form two groups
    side by side. Each group is then extended to the full mask (a watershed of the
    distance to the surface). Small separate parts are assigned by their side of the
    plane between both groups. Every voxel of the mask gets the side of the nearest
    coarse voxel, so the border between touching lungs has the resolution of the grid.

    The center of the field of view is not used. The mediastinum, which is the thick
    soft tissue near the lungs, must be between the groups. Otherwise, a group is a part
    of one lung. The same tissue determines the side if only one lung is in the field of
    view.

    Args:
        mask: Mask of the lungs, from :func:`lung_mask` or another program.
        volume: The scan in HU.

    Shape:
        - mask, output: (D, H, W)

    Returns:
        uint8 array of :data:`NO_LUNG`, :data:`LEFT_LUNG` and :data:`RIGHT_LUNG`.

    Raises:
        ValueError: If the mask is empty or differs in shape from the volume.
    """
    mask = np.asarray(mask, bool)
    if mask.shape != volume.shape or not mask.any():
        raise ValueError(
            f'expected a non-empty mask of shape {volume.shape}, '
            f'but it has shape {mask.shape} and {mask.sum()} voxels'
        )
    steps = [max(1, round(_COARSE_MM / one)) for one in volume.spacing_mm]
    coarse = np.ascontiguousarray(mask[tuple(slice(None, None, s) for s in steps)])
    if not coarse.any():
        raise ValueError(f'expected lungs, but the mask holds only {mask.sum()} voxels')
    sides = _coarse_sides(_Scene.of(coarse, volume, steps))
    rows, columns = (
        np.arange(size) // step for size, step in zip(mask.shape[1:], steps[1:])
    )
    result = np.empty(mask.shape, np.uint8)
    for number, inside in enumerate(mask):
        own = sides[number // steps[0]][rows[:, None], columns]
        np.multiply(own, inside, out=result[number])
    return result


@dataclass
class _Scene:
    """Lungs and surrounding structures on the coarse grid, all (d, h, w) bool.

    Attributes:
        mask: Lungs.
        deep: Soft tissue that is thicker than the muscles of the chest wall.
        around: Air around the patient.
        spacing_mm: (3,) voxel size.
        direction: (3, 3) as in :class:`CTVolume`.
    """

    mask: np.ndarray
    deep: np.ndarray
    around: np.ndarray
    spacing_mm: np.ndarray
    direction: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray, volume: CTVolume, steps: list[int]) -> '_Scene':
        """Compute the structures on the grid of a coarse mask."""
        spacing_mm = np.multiply(steps, volume.spacing_mm)
        deep, around = np.zeros((2, *mask.shape), bool)
        kernel = np.ones((3, 3), np.uint8)
        for number, lung in enumerate(mask):
            slice_hu = np.clip(volume.array[number * steps[0]], -1024, 300)
            # Average around each coarse voxel, so that noise does not make holes.
            slice_hu = cv2.blur(slice_hu.astype(np.float32), (steps[2], steps[1]))
            slice_hu = slice_hu[:: steps[1], :: steps[2]]
            muscle = slice_hu > _MUSCLE_HU
            far = cv2.distanceTransform(muscle.view(np.uint8), cv2.DIST_L2, 5)
            deep[number] = far * min(spacing_mm[1:]) > _DEEP_MM
            lung = cv2.dilate(lung.view(np.uint8), kernel).view(bool)
            labels = _components((slice_hu < _AIR_HU) & ~lung)
            edge = np.r_[labels[0], labels[-1], labels[:, 0], labels[:, -1]]
            around[number] = np.isin(labels, edge[edge > 0])
        return cls(mask, deep, around, spacing_mm, volume.direction)

    def medial(self, lung: np.ndarray) -> float:
        """Return the direction of the body center from a lung: 2 (left) to -2 (right).

        In the rows of the lung, thick tissue next to it is mediastinum, and air
        around the patient next to it is behind the chest wall.
        """
        axis = 2 if abs(self.direction[0, 0]) >= abs(self.direction[0, 1]) else 1
        to_left = self.direction[0, 0 if axis == 2 else 1] > 0
        lung, deep, around = (
            np.moveaxis(each, axis, -1)[..., :: 1 if to_left else -1]
            for each in (lung, self.deep, self.around)
        )
        rows = lung.any(-1)
        lung, deep, around = lung[rows], deep[rows], around[rows]
        at = np.arange(lung.shape[-1])
        first = lung.argmax(-1)[:, None]
        last = (len(at) - 1 - lung[:, ::-1].argmax(-1))[:, None]
        reach = _NEAR_MM / self.spacing_mm[axis]
        left, right = (
            (at > last) & (at <= last + reach),
            (at < first) & (at >= first - reach),
        )
        tissue = _balance((deep & left).sum(), (deep & right).sum(), 20)
        wall = _balance(
            (around & left).any(-1).sum(), (around & right).any(-1).sum(), 5
        )
        return tissue - wall


def _balance(left: int, right: int, least: int) -> float:
    """Return 1 if all is left, -1 if all is right, 0 if there is too little."""
    return (left - right) / (left + right) if left + right >= least else 0.0


def _coarse_sides(scene: _Scene) -> np.ndarray:
    """Return the side of the lung that is nearest to each voxel, (d, h, w) uint8."""
    sides = _split(scene, doubtful=False)
    if sides is not None:
        return sides
    medial = scene.medial(scene.mask)
    if abs(medial) < _DOUBT:
        sides = _split(scene, doubtful=True)
        if sides is not None:
            return sides
        warnings.warn(
            'only one lung is in the field of view, without mediastinum or chest wall '
            'next to it; its side was determined from its position in the image',
            stacklevel=3,
        )
        center = np.array(ndimage.center_of_mass(scene.mask))
        away = (center - np.subtract(scene.mask.shape, 1) / 2) * scene.spacing_mm
        medial = -(scene.direction @ away[::-1])[0]
    side = RIGHT_LUNG if medial > 0 else LEFT_LUNG
    return np.full(scene.mask.shape, side, np.uint8)


def _components(mask: np.ndarray) -> np.ndarray:
    """Return the number of the connected component of each voxel, 0 outside."""
    labels = np.empty(mask.shape, np.int32)
    ndimage.label(mask, output=labels)
    return labels


def _split(scene: _Scene, doubtful: bool) -> np.ndarray | None:
    """Return the sides of two lungs, (d, h, w) uint8; None if they do not separate."""
    mask = scene.mask
    depth_mm = np.ones(mask.shape)
    if not mask.all():
        depth_mm = np.asarray(
            ndimage.distance_transform_edt(mask, scene.spacing_mm), float
        )
    for radius_mm in np.arange(0, depth_mm.max(), _COARSE_MM / 2):
        parts = _components(depth_mm > radius_mm)
        groups = _two_groups(parts, scene, doubtful)
        if groups is not None:
            markers = np.zeros(parts.max() + 1, np.uint8)
            markers[groups[0]], markers[groups[1]] = RIGHT_LUNG, LEFT_LUNG
            sides = watershed(-depth_mm, markers[parts], mask=mask).astype(np.uint8)
            _assign_rest(sides, mask, scene.spacing_mm)
            return _spread(sides, scene.spacing_mm)
    return None


def _two_groups(
    parts: np.ndarray, scene: _Scene, doubtful: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the parts of the right and the left lung; None if there is one lung.

    The center of the body must be between them. With ``doubtful``, it may be unknown.
    """
    size = np.bincount(parts.ravel())
    size[0] = 0
    large = np.flatnonzero(size >= _SMALL * size.max())
    if len(large) < 2 or size.sum() < _CORE_SHARE * scene.mask.sum():
        return None
    centers = np.array(ndimage.center_of_mass(parts > 0, parts, large))
    world = (centers * scene.spacing_mm)[:, ::-1] @ scene.direction.T  # (x, y, z)
    order = np.argsort(world[:, 0], kind='stable')  # x increases to the left
    large, world = large[order], world[order]
    weights = size[large]
    for cut in sorted(
        range(1, len(large)), key=lambda n: world[n - 1, 0] - world[n, 0]
    ):
        right, left = (
            np.average(world[part], axis=0, weights=weights[part])
            for part in (slice(cut), slice(cut, None))
        )
        apart = left - right
        # Two lungs are side by side, but fragments of a lung need not be.
        if apart[0] <= abs(apart[1:]).max() * (1 if len(large) == 2 else 0.5):
            continue
        medial = [
            scene.medial(np.isin(parts, group)) for group in (large[:cut], large[cut:])
        ]
        if medial[0] > 0 > medial[1] or (doubtful and medial[0] >= 0 >= medial[1]):
            return large[:cut], large[cut:]
    return None


def _assign_rest(sides: np.ndarray, mask: np.ndarray, spacing_mm: np.ndarray) -> None:
    """Assign parts without a marker by their side of the plane between the lungs."""
    parts = _components(mask & (sides == NO_LUNG))
    count = int(parts.max())
    if not count:
        return
    points = [
        np.argwhere(sides == side) * spacing_mm for side in (RIGHT_LUNG, LEFT_LUNG)
    ]
    means = [each.mean(0) for each in points]
    within = sum(
        (each - mean).T @ (each - mean) for each, mean in zip(points, means)
    ) / sum(map(len, points))
    normal = np.linalg.solve(within + np.eye(3), means[1] - means[0])
    middle = normal @ (means[0] + means[1]) / 2
    centers = ndimage.center_of_mass(parts > 0, parts, range(1, count + 1))
    left = np.array(centers) * spacing_mm @ normal > middle
    found = np.r_[NO_LUNG, np.where(left, LEFT_LUNG, RIGHT_LUNG)].astype(np.uint8)
    np.maximum(sides, found[parts], out=sides)


def _spread(sides: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Extend the sides to all voxels."""
    nearest = ndimage.distance_transform_edt(
        sides == NO_LUNG, spacing_mm, return_distances=False, return_indices=True
    )
    return sides[tuple(np.asarray(nearest))]
