"""Matching of the readers' nodules in LIDC-IDRI, and their consensus."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .lidc_xml import Contour, ReaderNodule

#: Minimum number of ratings for a label (Lei et al.: nodules "being rated by
#: only one or two radiologist" were removed).
MIN_READERS = 3

#: Mean malignancy of nodules that are neither benign (below) nor malignant (above).
UNDECIDED = 3.0

# Number of digits to which positions in mm are rounded before comparison
_Z_DIGITS = 2


@dataclass(frozen=True)
class PixelMask:
    """Pixels of a nodule of one reader; empty slices are not stored.

    Attributes:
        slices: Covered pixels within ``box_px`` for each z in mm (rounded to 0.01).
        box_px: Bounding box ``(x0, y0, x1, y1)`` of all slices, end exclusive.
    """

    slices: dict[float, np.ndarray]
    box_px: tuple[int, int, int, int]

    @property
    def size(self) -> int:
        """Number of covered pixels over all slices."""
        return sum(int(mask.sum()) for mask in self.slices.values())


def fill_nodule(nodule: ReaderNodule) -> PixelMask:
    """Fill the outlines of a reader.

    The outlines of LIDC-IDRI are drawn on the first pixels outside the nodule ("the
    outline was meant to be the outer border of the nodule so that the outline
    itself did not overlap the pixels of the nodule"; Armato et al., Med. Phys.
    38(2), 2011, Sec. II.C). Pixels on an outline are therefore not included. The same
    holds for holes. If no pixel remains (outlines of three or four touching points),
    the pixels of the outlines are used instead.

    Args:
        nodule: Nodule of one reader.

    Returns:
        The pixels of the nodule, with the union of several outlines in a slice.
    """
    points = np.concatenate([one.points_px for one in nodule.contours])
    x0, y0 = (int(value) for value in points.min(0))
    x1, y1 = (int(value) + 1 for value in points.max(0))
    shape, offset = (y1 - y0, x1 - x0), np.array([x0, y0], np.int32)
    for with_border in (False, True):
        slices: dict[float, np.ndarray] = {}
        # Holes are processed last, independent of the order in the file.
        for one in sorted(nodule.contours, key=lambda one: not one.included):
            z_mm = round(one.z_mm, _Z_DIGITS)
            filled = _fill(one, offset, shape, with_border and one.included)
            before = slices.get(z_mm, np.zeros(shape, bool))
            slices[z_mm] = before | filled if one.included else before & ~filled
        slices = {z: mask for z, mask in slices.items() if mask.any()}
        if slices:
            break
    return PixelMask(slices, (x0, y0, x1, y1))


def _fill(
    contour: Contour, offset: np.ndarray, shape: tuple[int, int], with_border: bool
) -> np.ndarray:
    points = [contour.points_px - offset]
    filled = np.zeros(shape, np.uint8)
    cv2.fillPoly(filled, points, 1)
    if not with_border:
        cv2.polylines(filled, points, True, 0)
    return filled.astype(bool)


def overlap(one: PixelMask, other: PixelMask) -> int:
    """Return the number of pixels, over all slices, that both masks cover."""
    x0, y0 = np.maximum(one.box_px[:2], other.box_px[:2])
    x1, y1 = np.minimum(one.box_px[2:], other.box_px[2:])
    if x0 >= x1 or y0 >= y1:
        return 0

    def part(mask: PixelMask, plane: np.ndarray) -> np.ndarray:
        left, top = mask.box_px[:2]
        return plane[y0 - top : y1 - top, x0 - left : x1 - left]

    return sum(
        int((part(one, plane) & part(other, other.slices[z])).sum())
        for z, plane in one.slices.items()
        if z in other.slices
    )


def match_readers(nodules: Sequence[ReaderNodule]) -> list[tuple[ReaderNodule, ...]]:
    r"""Group the nodules of the readers that belong to the same nodule.

    Two nodules of different readers may be the same nodule if they share at least one
    pixel in a slice. Pairs are merged in the order of decreasing Dice,
    :math:`2|A \cap B| / (|A| + |B|)`, counted in pixels over all slices. A group
    contains at most one nodule of each reader, so two groups are merged only if they
    have no reader in common. Ties are merged in the order of the file. The official
    files do not identify the same nodule across readers; LIDC's own grouping (Armato et
    al., 2011) was visual.

    Args:
        nodules: All nodules of one series.

    Returns:
        The groups in the order of the file. Each group is ordered by reader.
    """
    masks = [fill_nodule(nodule) for nodule in nodules]
    sizes = [mask.size for mask in masks]
    pairs = []
    for i, one in enumerate(nodules):
        for j in range(i):
            if nodules[j].reader == one.reader:
                continue
            shared = overlap(masks[i], masks[j])
            if shared:
                pairs.append((-2 * shared / (sizes[i] + sizes[j]), j, i))
    group = {index: [index] for index in range(len(nodules))}
    for _, j, i in sorted(pairs):
        one, other = group[j], group[i]
        readers = {nodules[k].reader for k in one}
        if one is other or readers & {nodules[k].reader for k in other}:
            continue
        one += other
        for k in other:
            group[k] = one
    unique = {id(members): members for members in group.values()}
    return [
        tuple(nodules[k] for k in sorted(members, key=lambda k: (nodules[k].reader, k)))
        for members in sorted(unique.values(), key=min)
    ]


def mean_malignancy(nodules: Sequence[ReaderNodule]) -> float:
    """Return the readers' mean malignancy, 1 (unlikely) to 5 (suspicious)."""
    return sum(one.ratings['malignancy'] for one in nodules) / len(nodules)


def malignancy_label(
    nodules: Sequence[ReaderNodule], min_readers: int = MIN_READERS
) -> int | None:
    """Return the benign or malignant label of a nodule.

    Source: Lei et al., *Soft Activation Mapping of Lung Nodules in Low-dose CT
    Images*, arXiv 1810.12494, Sec. "Data Preparation".

    Args:
        nodules: One group of :func:`match_readers`.
        min_readers: Minimum number of readers for a label.

    Returns:
        1 (malignant) for a mean malignancy above 3, 0 (benign) for a mean below 3, and
        None for exactly 3 or too few readers.
    """
    mean = mean_malignancy(nodules)
    if len(nodules) < min_readers or mean == UNDECIDED:
        return None
    return int(mean > UNDECIDED)


def equivalent_diameter(volume_mm3: float) -> float:
    r"""Return the diameter in mm of a sphere with a volume, :math:`(6V/\pi)^{1/3}`."""
    return float(np.cbrt(6 * volume_mm3 / np.pi))


def reader_masks(
    nodules: Sequence[ReaderNodule], slice_of_z: Callable[[float], int | None]
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return the voxel masks of the readers.

    Args:
        nodules: One group of :func:`match_readers`.
        slice_of_z: Function that returns the index of the slice at a z (mm), or
            None to omit it.

    Returns:
        The masks (bool) within the bounding box of all outlines, and the first slice,
        row and column of this box.

    Shape:
        - masks: (R, d, h, w), where d spans all slices with outlines;
          d is 0 if all slices are omitted.
    """
    masks = [fill_nodule(nodule) for nodule in nodules]
    x0, y0 = np.min([mask.box_px[:2] for mask in masks], 0).tolist()
    x1, y1 = np.max([mask.box_px[2:] for mask in masks], 0).tolist()
    planes = [
        (reader, number, mask, z)
        for reader, mask in enumerate(masks)
        for z in mask.slices
        if (number := slice_of_z(z)) is not None
    ]
    numbers = [number for _, number, _, _ in planes]
    first, stop = (min(numbers), max(numbers) + 1) if numbers else (0, 0)
    out = np.zeros((len(masks), stop - first, y1 - y0, x1 - x0), bool)
    for reader, number, mask, z in planes:
        left, top, right, bottom = mask.box_px
        out[reader, number - first, top - y0 : bottom - y0, left - x0 : right - x0] |= (
            mask.slices[z]
        )
    return out, (first, y0, x0)


def reader_votes(
    nodules: Sequence[ReaderNodule], slice_of_z: Callable[[float], int | None]
) -> tuple[dict[int, np.ndarray], tuple[int, int, int, int]]:
    """Count the readers that cover each pixel.

    The consensus of half of the readers is ``votes >= len(nodules) / 2``.

    Args:
        nodules: One group of :func:`match_readers`.
        slice_of_z: Function that returns the index of the slice at a z (mm), or
            None to omit it.

    Returns:
        The votes (uint16) of each slice within the bounding box of all outlines, and
        this box, ``(x0, y0, x1, y1)`` in pixels, end exclusive.

    Shape:
        - votes of a slice: (y1 - y0, x1 - x0).
    """
    masks, (first, y0, x0) = reader_masks(nodules, slice_of_z)
    votes = {
        first + place: plane
        for place, plane in enumerate(masks.sum(0, dtype=np.uint16))
        if plane.any()
    }
    return votes, (x0, y0, x0 + masks.shape[3], y0 + masks.shape[2])
