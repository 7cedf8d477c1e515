"""RECIST diameters of a lesion and the box around them, as in DeepLesion."""

from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np


class Recist(NamedTuple):
    """Long and short diameter of a mask.

    Integers are pixel centers, counted from 0. The outer edges of the box, as in the
    data sets, are x1, y1, x2 + 1, y2 + 1.

    Attributes:
        ends: (4, 2), x and y of both ends of the long, then of the short diameter.
        long_px: Length of the long diameter between pixel centers.
        short_px: Length of the short diameter between pixel centers.
        bbox: (x1, y1, x2, y2), extent of the four ends plus the margin.
    """

    ends: np.ndarray
    long_px: float
    short_px: float
    bbox: np.ndarray


#: Distance of the boxes of DeepLesion from the ends of the diameters.
DEEPLESION_MARGIN_PX = 5.0


def box_margin_px(dataset_meta: Mapping | None) -> float:
    """Return the distance of the edges of boxes from the ends of the diameters.

    Args:
        dataset_meta: Metadata of the data set, with ``box_margin_px`` or without. Data
            sets without this entry have the margin of DeepLesion.
    """
    # The edges of a box are half a pixel beyond the centers of its outer pixels
    default = DEEPLESION_MARGIN_PX + 0.5
    return float((dataset_meta or {}).get('box_margin_px', default))


def recist(mask: np.ndarray, margin_px: float = DEEPLESION_MARGIN_PX) -> Recist:
    """Measure a lesion in one slice.

    The long diameter connects the two outline points that are farthest apart. The
    short diameter is the longest chord perpendicular to it. The box is the extent of
    their ends plus ``margin_px`` on each side, clipped to the image.

    Source: Yan et al., DeepLesion, J. Med. Imaging 5(3), 2018 (margin of 5 pixels).

    Args:
        mask: (H, W), non-zero in the lesion. If there are several components, the
            component with the longest outline is measured.
        margin_px: Margin on each side.

    Returns:
        Diameters and box.

    Raises:
        ValueError: If the mask is empty.
    """
    mask = (np.asarray(mask) > 0).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        raise ValueError(
            'recist() needs a mask with at least one pixel, got an empty '
            f'mask of shape {mask.shape}'
        )
    outline = max(contours, key=len)[:, 0, :].astype(np.float64)
    hull = cv2.convexHull(outline.astype(np.float32))[:, 0, :].astype(np.float64)
    apart = np.linalg.norm(hull[:, None] - hull[None], axis=-1)
    i, j = np.unravel_index(np.argmax(apart), apart.shape)
    long_ends = hull[np.array((i, j))]
    long_px = float(apart[i, j])
    if long_px == 0:
        ends = np.repeat(hull[:1], 4, axis=0)
        return Recist(ends, 0.0, 0.0, _box(ends, margin_px, mask.shape))
    way = (long_ends[1] - long_ends[0]) / long_px
    normal = np.array((-way[1], way[0]))
    along, across = (outline - long_ends[0]) @ way, (outline - long_ends[0]) @ normal
    # Chords: the upper and lower side of the outline, sampled every half pixel.
    at = np.arange(0, long_px + 0.25, 0.5)
    upper, lower = np.full(at.size, -np.inf), np.full(at.size, np.inf)
    closed_a, closed_c = np.append(along, along[0]), np.append(across, across[0])
    for a0, a1, c0, c1 in zip(closed_a[:-1], closed_a[1:], closed_c[:-1], closed_c[1:]):
        first = int(np.ceil(max(min(a0, a1), 0) * 2 - 1e-9))
        last = int(np.floor(min(max(a0, a1), at[-1]) * 2 + 1e-9))
        for n in range(first, min(last, at.size - 1) + 1):
            part = 0.0 if a1 == a0 else (at[n] - a0) / (a1 - a0)
            values = (c0, c1) if a1 == a0 else (c0 + part * (c1 - c0),)
            upper[n] = max(upper[n], *values)
            lower[n] = min(lower[n], *values)
    chord = np.where(np.isfinite(upper) & np.isfinite(lower), upper - lower, 0.0)
    best = int(np.argmax(chord))
    if chord[best] > 0:
        foot = long_ends[0] + at[best] * way
        short_ends = foot + np.outer((lower[best], upper[best]), normal)
    else:
        short_ends = np.repeat(long_ends.mean(0, keepdims=True), 2, axis=0)
    ends = np.concatenate((long_ends, short_ends))
    return Recist(ends, long_px, float(chord[best]), _box(ends, margin_px, mask.shape))


def _box(ends: np.ndarray, margin_px: float, shape) -> np.ndarray:
    low, high = ends.min(0) - margin_px, ends.max(0) + margin_px
    limit = np.array((shape[1] - 1, shape[0] - 1), float)
    return np.concatenate((np.clip(low, 0, limit), np.clip(high, 0, limit)))
