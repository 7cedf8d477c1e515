"""Values of one finding on a box of voxels: masks and maps."""

from dataclasses import dataclass

import numpy as np

from mmlesion.ct import CTVolume

Corner = tuple[float, float, float]


@dataclass(frozen=True)
class FindingMap:
    """Mask or map that covers a box of the volume's array.

    The resolution of the values may differ from that of the volume: the values divide
    the box into equal cells. A map of one slice has one layer, as thick as the slice.

    Args:
        values: Mask (bool), or map in [0, 1] (float).
        lower: Lower corner of the box (z, y, x) in voxel indices of the array.
            A voxel with index n covers n - 0.5 to n + 0.5.
        upper: Upper corner of the box.

    Shape:
        - values: (D, H, W).

    Raises:
        ValueError: If the values are not 3-D, the box is empty, or a value of a map
            is outside [0, 1].
    """

    values: np.ndarray
    lower: Corner
    upper: Corner

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.size == 0:
            raise ValueError(
                f'a map has shape (D, H, W), but the values have {self.values.shape}'
            )
        if not all(low < high for low, high in zip(self.lower, self.upper)):
            raise ValueError(f'the box {self.lower} to {self.upper} of a map is empty')
        least, largest = float(self.values.min()), float(self.values.max())
        if not 0 <= least <= largest <= 1:
            raise ValueError(
                f'values of a map must be in [0, 1], but range from {least:g} to '
                f'{largest:g}'
            )

    @classmethod
    def at_voxels(cls, values: np.ndarray, start: tuple[int, int, int]) -> 'FindingMap':
        """Return a map with one value per voxel, from voxel ``start`` (z, y, x) on."""
        z, y, x = (n - 0.5 for n in start)
        depth, height, width = values.shape
        return cls(values, (z, y, x), (z + depth, y + height, x + width))

    def paint(self, labels: np.ndarray, label: int) -> None:
        """Write ``label`` where the mask is set and ``labels`` is still 0.

        Args:
            labels: Array of the volume's shape, changed in place.
            label: Value to write.

        Raises:
            ValueError: If the resolution of the map differs from that of the volume.
        """
        start = np.asarray(self.lower) + 0.5
        sides = np.asarray(self.upper) - self.lower
        whole = np.allclose(start, np.rint(start), atol=1e-6)
        if not whole or not np.allclose(sides, self.values.shape, atol=1e-6):
            raise ValueError('only a mask with a value for each voxel can be painted')
        first = np.rint(start).astype(int)
        low = np.maximum(first, 0)
        high = np.minimum(first + self.values.shape, labels.shape)
        if (low >= high).any():
            return
        target = labels[tuple(slice(a, b) for a, b in zip(low, high))]
        inside = self.values[
            tuple(slice(a, b) for a, b in zip(low - first, high - first))
        ]
        target[(inside > 0) & (target == 0)] = label


#: Kinds of masks and maps of a finding.
MAP_KINDS = ('outline', 'score_map', 'attention', 'class_map')

#: Masks and maps of a scan by the id of the finding and the kind of map, one of
#: :data:`MAP_KINDS`.
FindingMaps = dict[int, dict[str, FindingMap]]


def box_ellipsoid(lower: np.ndarray, upper: np.ndarray) -> FindingMap:
    """Return the ellipsoid inside a box as a mask with at least one voxel.

    Args:
        lower: Lower corner of the box (z, y, x) in voxel indices of the array.
        upper: Upper corner of the box.

    Shape:
        - lower, upper: (3,).
    """
    center = (np.asarray(lower) + upper) / 2
    half = np.maximum((np.asarray(upper) - lower) / 2, 0.5)
    first = np.floor(center - half + 0.5).astype(int)
    last = np.maximum(np.ceil(center + half - 0.5).astype(int), first)
    grid = np.meshgrid(
        *(np.arange(a, b + 1) for a, b in zip(first, last)), indexing='ij'
    )
    distance = sum(
        np.square((axis - middle) / radius)
        for axis, middle, radius in zip(grid, center, half)
    )
    mask = np.asarray(distance <= 1)
    mask[tuple(np.clip(np.rint(center).astype(int) - first, 0, last - first))] = True
    z, y, x = first.tolist()
    return FindingMap.at_voxels(mask, (z, y, x))


def label_array(volume: CTVolume, maps: FindingMaps) -> np.ndarray:
    """Combine all outlines to a label map on the voxels of the volume's array.

    The value of a voxel is the id of its finding. Where outlines overlap, the lower id
    is used.

    Returns:
        Integer array with the shape of the volume; 0 is background.
    """
    largest = max(maps, default=0)
    labels = np.zeros(volume.shape, np.uint8 if largest < 256 else np.uint16)
    for number in sorted(maps):
        if 'outline' in maps[number]:
            maps[number]['outline'].paint(labels, number)
    return labels
