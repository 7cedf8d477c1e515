"""Figure of the maps of a pathological sign: slices and projections by view."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from .map_overlay import overlay_map

#: HU of black and white, which shows lungs and soft tissue.
SLICE_WINDOW_HU = (-1350.0, 250.0)

_PANEL_PX = 220
_TITLE_PX = 22
_TRUE_COLOR = (0, 255, 90)
_MAXIMUM_COLOR = (0, 220, 220)
_AXES = dict(axial=0, coronal=1, sagittal=2)


def draw_sign_map(
    array: np.ndarray,
    spacing_mm: Sequence[float],
    part: tuple[slice, slice, slice],
    maps: Mapping[str, np.ndarray],
    projections: Mapping[str, np.ndarray],
    position: np.ndarray,
    place: Sequence[int],
    truth: np.ndarray | None = None,
    title: str = '',
) -> np.ndarray:
    """Draw the maps of one lung region of a scan.

    Each view has a row of five panels: the slice through the maximum; this slice with
    the map of the view over the lung region; the projection (network input); the
    projection with its map; the slice with the 3-D position map, its maximum and the
    true outline.

    Source: Zusag et al., SAPSAM, Fig. 3, which shows the first two panels of the axial
    view.

    Args:
        array: Scan in HU.
        spacing_mm: Voxel size (z, y, x).
        part: Index ranges of the lung region, from :func:`mmlesion.ct.region_slices`.
        maps: Raw map of each view, with the head at the top.
        projections: 8-bit RGB projections of the same views.
        position: Position map of the whole scan, in [0, 1].
        place: Voxel (z, y, x) of its maximum in the lung region.
        truth: Mask of the sign.
        title: Title of the figure.

    Shape:
        - array, position, truth: (D, H, W)
        - maps, projections: (rows, columns) and (rows, columns, 3)
        - output: (H', W', 3)

    Returns:
        Figure, uint8, RGB.
    """
    rows = []
    for view, raw in maps.items():
        heat = np.maximum(raw, 0) / max(float(raw.max()), np.finfo(np.float32).tiny)
        plane, laid, found = (
            _slice(each, view, place)
            for each in (
                array,
                _spread_along_rays(view, heat, part, array.shape),
                position,
            )
        )
        true = None if truth is None else _slice(truth, view, place)
        gray = projections[view].mean(2)
        mm = _pixel_mm(view, spacing_mm)
        panels = [
            _panel(each, mm)
            for each in (
                overlay_map(plane, np.zeros((1, 1)), limits=SLICE_WINDOW_HU),
                overlay_map(plane, laid, limits=SLICE_WINDOW_HU),
                projections[view],
                overlay_map(gray, heat, limits=(0, 255)),
            )
        ]
        panels.append(
            _panel(
                overlay_map(
                    plane,
                    found / max(float(position.max()), 1e-6),
                    limits=SLICE_WINDOW_HU,
                ),
                mm,
                true,
                _pixel(view, place, array.shape),
            )
        )
        rows.append(np.concatenate(panels, 1))
    columns = (
        'slice',
        'map on the slice',
        'projection',
        'map on the projection',
        'position in 3-D',
    )
    head = np.concatenate([_strip(each, _PANEL_PX) for each in columns], 1)
    picture = np.concatenate([head, *rows])
    return np.concatenate([_strip(title, picture.shape[1]), picture])


def _slice(volume: np.ndarray, view: str, place: Sequence[int]) -> np.ndarray:
    """Return the plane of a view through a voxel, with the head at the top."""
    axis = _AXES[view]
    plane = np.take(volume, place[axis], axis)
    return plane if axis == 0 else plane[::-1]


def _pixel(view: str, place: Sequence[int], shape: Sequence[int]) -> tuple[int, int]:
    """Return row and column of a voxel in its slice."""
    z, y, x = place
    top = shape[0] - 1 - z
    return dict(axial=(y, x), coronal=(top, x), sagittal=(top, y))[view]


def _pixel_mm(view: str, spacing_mm: Sequence[float]) -> tuple[float, float]:
    z, y, x = spacing_mm
    return dict(axial=(y, x), coronal=(z, x), sagittal=(z, y))[view]


def _spread_along_rays(
    view: str, heat: np.ndarray, part: tuple[slice, slice, slice], shape: Sequence[int]
) -> np.ndarray:
    """Spread the map of a view along its rays over the voxels of the scan."""
    sizes = [index.stop - index.start for index in part]
    del sizes[_AXES[view]]
    full = cv2.resize(
        np.asarray(heat, np.float32), tuple(sizes[::-1]), interpolation=cv2.INTER_LINEAR
    )
    full = full if view == 'axial' else full[::-1]
    laid = np.zeros(shape, np.float32)
    laid[part] = np.expand_dims(full, _AXES[view])
    return laid


def _panel(
    picture: np.ndarray,
    pixel_mm: Sequence[float],
    outline: np.ndarray | None = None,
    pixel: Sequence[int] | None = None,
) -> np.ndarray:
    """Fit an image into a square panel with its physical aspect ratio."""
    size = np.multiply(picture.shape[:2], pixel_mm)
    height, width = np.maximum(
        np.round(size / size.max() * (_PANEL_PX - 4)).astype(int), 1
    )
    scale = np.divide((height, width), picture.shape[:2])
    picture = cv2.resize(
        np.ascontiguousarray(picture),
        (int(width), int(height)),
        interpolation=cv2.INTER_LINEAR,
    )
    if outline is not None and outline.any():
        large = cv2.resize(
            np.ascontiguousarray(outline).astype(np.uint8),
            (int(width), int(height)),
            interpolation=cv2.INTER_NEAREST,
        )
        contours, _ = cv2.findContours(large, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, _TRUE_COLOR, 1)
    if pixel is not None:
        row, column = ((np.array(pixel) + 0.5) * scale).astype(int).tolist()
        cv2.drawMarker(picture, (column, row), _MAXIMUM_COLOR, cv2.MARKER_CROSS, 11, 1)
    panel = np.zeros((_PANEL_PX, _PANEL_PX, 3), np.uint8)
    top, left = (_PANEL_PX - height) // 2, (_PANEL_PX - width) // 2
    panel[top : top + height, left : left + width] = picture
    return panel


def _strip(text: str, width: int) -> np.ndarray:
    strip = np.zeros((_TITLE_PX, width, 3), np.uint8)
    cv2.putText(
        strip,
        text,
        (4, 15),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.42,
        (255, 255, 255),
        1,
        cv2.LINE_AA,
    )
    return strip
