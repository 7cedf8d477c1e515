"""Figures of weakly supervised nodule segmentation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .map_overlay import overlay_map

#: RGB of the outlines.
OUTLINE_COLORS = dict(
    truth=(0, 220, 0), scope=(255, 255, 255), coarse=(64, 128, 255), fine=(255, 48, 48)
)
_TITLE_PX = 22


def nodule_panels(
    picture: np.ndarray,
    truth: np.ndarray,
    activation_map: np.ndarray | None = None,
    scope: np.ndarray | None = None,
    coarse: np.ndarray | None = None,
    fine: np.ndarray | None = None,
    least_side: int = 320,
) -> np.ndarray:
    """Draw the steps from a slice to a segmented nodule, side by side.

    Panels: the slice; its map with the scope ("no nodule" if the scope is empty); the
    coarse segmentation within the scope; the fine segmentation. The true nodules are
    outlined in green in every panel. Missing steps have no panel.

    Source: Feng et al., MICCAI 2017, Fig. 2. Differs from it in: the panel of the fine
    segmentation is added.

    Args:
        picture: Slice with gray values of any range.
        truth: Mask of the true nodules, 0 outside.
        activation_map: Activation map. Negative values count as 0.
        scope: Region in which candidates are searched, bool.
        coarse: Coarse segmentation, bool.
        fine: Fine segmentation, bool.
        least_side: Small images are enlarged by an integer factor to about this many
            pixels.

    Shape:
        - picture, truth, scope, coarse, fine: (H, W)
        - activation_map: (h, w), resized to the slice
        - output: (H', W', 3)

    Returns:
        Image, uint8, RGB.
    """
    picture = np.asarray(picture, np.float32)
    panels: list[tuple[str, np.ndarray | None, dict]] = [('slice', None, {})]
    if activation_map is not None:
        heat = np.asarray(activation_map, np.float32).clip(0)
        title = 'map, scope' if scope is None or np.any(scope) else 'map: no nodule'
        panels.append((title, heat / max(float(heat.max()), 1e-12), dict(scope=scope)))
    if coarse is not None:
        panels.append(('coarse', None, dict(scope=scope, coarse=coarse)))
    if fine is not None:
        panels.append(('fine', None, dict(fine=fine)))
    factor = max(1, round(least_side / max(picture.shape)))
    shown = []
    for title, heat, masks in panels:
        panel = overlay_map(picture, np.zeros((1, 1)) if heat is None else heat)
        panel = np.ascontiguousarray(panel.repeat(factor, 0).repeat(factor, 1))
        for name, mask in dict(truth=truth, **masks).items():
            if mask is not None:
                _outline(panel, mask, factor, OUTLINE_COLORS[name])
        bar = np.zeros((_TITLE_PX, panel.shape[1], 3), np.uint8)
        cv2.putText(
            bar,
            title,
            (3, 15),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.42,
            (255, 255, 255),
            1,
            cv2.LINE_AA,
        )
        shown.append(np.concatenate([bar, panel]))
    return np.concatenate(shown, 1)


def draw_size_curves(
    curves: Mapping[str, Sequence[dict]],
    out_file: str | Path,
    title: str = 'Segmentation of found nodules',
) -> None:
    """Draw Dice and area difference against the nodule size.

    Means with standard deviations by diameter bin. A bin without nodules has no point.

    Source: Feng et al., MICCAI 2017, Fig. 3.

    Args:
        curves: Rows of :func:`mmlesion.evaluation.functional.scores_by_size` by name
            of the segmentation.
        out_file: PNG to write.
        title: Title.

    Raises:
        ValueError: If there is no curve.
    """
    if not curves:
        raise ValueError('No curve by size to draw.')
    figure = Figure(figsize=(10, 4.2), layout='constrained')
    for place, (key, label) in enumerate(
        (('tp_dice', 'TP Dice'), ('tp_doa', 'TP DOA (mm²)')), 1
    ):
        axes = figure.add_subplot(1, 2, place)
        for shift, (name, rows) in enumerate(curves.items()):
            rows = [row for row in rows if row['count']]
            # Shift the points so that the bars of two methods do not overlap.
            middles = [
                (row['low_mm'] + row['high_mm']) / 2
                + 0.25 * (shift - (len(curves) - 1) / 2)
                for row in rows
            ]
            axes.errorbar(
                middles,
                [row[f'{key}_mean'] for row in rows],
                [row[f'{key}_std'] for row in rows],
                marker='o',
                capsize=3,
                label=f'{name} ({sum(row["count"] for row in rows)} slices)',
            )
        axes.set(
            xlabel='diameter of the nodule in the slice (mm)',
            ylabel=label,
            title=title if place == 1 else '',
        )
        axes.set_ylim(bottom=0, top=1 if key == 'tp_dice' else None)
        axes.grid(alpha=0.3)
        axes.legend(loc='best', fontsize=9)
    Path(out_file).parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(out_file, dpi=120)


def _outline(
    panel: np.ndarray, mask: np.ndarray, factor: int, color: tuple[int, int, int]
) -> None:
    """Draw the outer border of a mask on an enlarged image."""
    mask = np.asarray(mask) != 0
    large = mask.astype(np.uint8).repeat(factor, 0).repeat(factor, 1)
    found, _ = cv2.findContours(
        cv2.dilate(large, np.ones((3, 3), np.uint8)),
        cv2.RETR_LIST,
        cv2.CHAIN_APPROX_NONE,
    )
    cv2.drawContours(panel, found, -1, color, 1)
