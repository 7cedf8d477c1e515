"""Overlays of activation maps on the input image."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

_TITLE_PX = 22
_BAR_PX = 64
_BOX_COLOR = (0, 220, 220)


def overlay_map(
    picture: np.ndarray,
    heat: np.ndarray,
    opacity: float = 0.5,
    limits: tuple[float, float] | None = None,
) -> np.ndarray:
    """Color an image by a map. The opacity increases with the value of the map.

    Args:
        picture: Gray values of any range.
        heat: Map in [0, 1]. The image remains gray where the map is 0.
        opacity: Opacity of the color where the map is 1.
        limits: Gray values of black and white. Defaults to the smallest and largest
            value of the image.

    Shape:
        - picture: (H, W)
        - heat: (h, w), resized to the image
        - output: (H, W, 3)

    Returns:
        Image, uint8, RGB.

    Raises:
        ValueError: If the map is not within [0, 1], or an array is not 2-D.
    """
    picture = np.asarray(picture, np.float32)
    heat = np.asarray(heat, np.float32)
    if picture.ndim != 2 or heat.ndim != 2:
        raise ValueError(
            'an overlay needs a picture (H, W) and a map (h, w), got '
            f'{picture.shape} and {heat.shape}'
        )
    if not (heat.min() >= 0 and heat.max() <= 1):
        raise ValueError(
            'an overlay needs a map in [0, 1], got '
            f'{heat.min():g} to {heat.max():g}: normalize it first'
        )
    low, high = limits or (float(picture.min()), float(picture.max()))
    gray = ((picture - low) / ((high - low) or 1.0)).clip(0, 1) * 255
    heat = cv2.resize(heat, picture.shape[::-1], interpolation=cv2.INTER_LINEAR)
    color = _colors(heat)
    share = opacity * heat[..., None]
    mixed = (1 - share) * gray[..., None] + share * color
    return mixed.round().clip(0, 255).astype(np.uint8)


def overlays_side_by_side(
    picture: np.ndarray,
    maps: Mapping[str, np.ndarray],
    least_side: int = 192,
    most_side: int = 640,
    title: str = 'input',
    limits: tuple[float, float] | None = None,
    box_px: Sequence[float] | np.ndarray | None = None,
) -> np.ndarray:
    """Draw the image alone and with each map side by side, with titles.

    Args:
        picture: See :func:`overlay_map`.
        maps: Maps in [0, 1] by title.
        least_side: Small images are enlarged by an integer factor to about this many
            pixels.
        most_side: Large images are reduced to this many pixels.
        title: Title of the image without map.
        limits: See :func:`overlay_map`.
        box_px: Box to draw, xyxy, outer edges in pixels of the image.

    Shape:
        - picture: (H, W)
        - output: (H', W', 3)

    Returns:
        Image, uint8, RGB.
    """
    picture = np.asarray(picture, np.float32)
    limits = limits or (float(picture.min()), float(picture.max()))
    longest = max(picture.shape)
    factor = max(1, round(least_side / longest))
    if longest > most_side:
        factor = most_side / longest
        picture = cv2.resize(
            picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA
        )
    panels = [(title, np.zeros((1, 1))), *maps.items()]
    shown = []
    for name, heat in panels:
        panel = overlay_map(picture, heat, limits=limits)
        if factor > 1:
            panel = panel.repeat(factor, 0).repeat(factor, 1)
        if box_px is not None:
            x1, y1, x2, y2 = (int(round(float(each) * factor)) for each in box_px)
            # OpenCV draws on pixels; the last pixel begins 1 before the edge of the box
            last = max(x1, x2 - 1), max(y1, y2 - 1)
            cv2.rectangle(panel, (x1, y1), last, _BOX_COLOR, 1)
        shown.append(np.concatenate([_title(name, panel.shape[1]), panel]))
    return np.concatenate(shown, 1)


def overlay_rows(
    picture: np.ndarray,
    rows: Sequence[tuple[str, Mapping[str, np.ndarray]]],
    ends: tuple[str, str] = ('least', 'most'),
    boxes_px: Sequence[Sequence[float]] | np.ndarray | None = None,
    **kwargs: Any,
) -> np.ndarray:
    """Draw a row of overlays for each class or box, and a color bar.

    Args:
        picture: See :func:`overlay_map`.
        rows: Title of each row, and its maps in [0, 1] by title.
        ends: Labels of 0 and 1 at the ends of the color bar.
        boxes_px: One box per row, xyxy pixels of the image.
        **kwargs: Further arguments of :func:`overlays_side_by_side`.

    Shape:
        - picture: (H, W)
        - output: (H', W', 3)

    Returns:
        Image, uint8, RGB.
    """
    boxes = [None] * len(rows) if boxes_px is None else boxes_px
    table = np.concatenate(
        [
            overlays_side_by_side(picture, maps, title=title, box_px=box, **kwargs)
            for (title, maps), box in zip(rows, boxes)
        ]
    )
    bar = np.zeros((len(table), _BAR_PX, 3), np.uint8)
    height = len(table) - 2 * _TITLE_PX
    bar[_TITLE_PX:-_TITLE_PX, 8:24] = _colors(
        np.linspace(1, 0, height, dtype=np.float32)[:, None]
    )
    bar[:_TITLE_PX] = _title(ends[1], _BAR_PX)
    bar[-_TITLE_PX:] = _title(ends[0], _BAR_PX)
    return np.concatenate([table, bar], 1)


def slice_bars(shares: np.ndarray, height: int, width: int = 140) -> np.ndarray:
    """Draw bars of the contribution of each slice, one block per class or box.

    The first slice is at the top. Bars to the right support the class, bars to the
    left oppose it. The longest bar of a block fills its half.

    Args:
        shares: Contributions.
        height: Height of the figure in pixels.
        width: Width of the figure in pixels.

    Shape:
        - shares: (K, slices)
        - output: (height, width, 3)

    Returns:
        Image, uint8, RGB.
    """
    picture = np.zeros((height, width, 3), np.uint8)
    edges = np.linspace(0, height, len(shares) + 1).round().astype(int)
    middle, reach = width // 2, width // 2 - 6
    for row, first, last in zip(np.asarray(shares), edges, edges[1:]):
        largest = np.abs(row).max()
        title = f'slices, up to {largest:.2g}'
        picture[first : first + _TITLE_PX] = _title(title, width)
        places = np.linspace(first + _TITLE_PX, last - 2, len(row) + 1)
        picture[first + _TITLE_PX : last - 2, middle] = 90
        for share, top, bottom in zip(row, places, places[1:]):
            length = int(round(reach * share / largest)) if largest > 0 else 0
            left, right = sorted((middle, middle + length))
            color = (255, 160, 40) if share >= 0 else (80, 160, 255)
            gap = 1 if bottom - top > 3 else 0
            picture[int(top) + gap : max(int(bottom), int(top) + 1), left:right] = color
    return picture


def _title(text: str, width: int) -> np.ndarray:
    """Draw a text on a black strip, with a font size that fits."""
    strip = np.zeros((_TITLE_PX, width, 3), np.uint8)
    size = 0.42
    while (
        size > 0.25
        and width < 6 + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0]
    ):
        size -= 0.02
    cv2.putText(
        strip,
        text,
        (3, 15),
        cv2.FONT_HERSHEY_SIMPLEX,
        size,
        (255, 255, 255),
        1,
        cv2.LINE_AA,
    )
    return strip


def _colors(heat: np.ndarray) -> np.ndarray:
    """Return the RGB colors of a map in [0, 1]."""
    return cv2.applyColorMap(
        (heat * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO
    )[..., ::-1]
