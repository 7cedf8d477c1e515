"""Figures of ROC curves and training curves."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def draw_roc(
    curves: Mapping[str, Mapping[str, Any]],
    out_file: str | os.PathLike[str],
    title: str = 'ROC',
) -> None:
    """Draw ROC curves, and the mean of several curves.

    The mean is taken over the sensitivities at equal false positive rates. Its band is
    one standard deviation wide to each side.

    Args:
        curves: Curves by name, each with ``false_positive_rate``,
            ``true_positive_rate`` (vertices from (0, 0) to (1, 1), see
            :func:`mmlesion.evaluation.functional.roc_curve`) and ``auc``.
        out_file: PNG to write.
        title: Title.

    Raises:
        ValueError: If there is no curve.
    """
    if not curves:
        raise ValueError('There is no ROC curve to draw.')
    figure = Figure(figsize=(6, 5.5), layout='constrained')
    axes = figure.add_subplot()
    grid = np.linspace(0, 1, 201)
    heights = []
    for name, curve in curves.items():
        x, y = curve['false_positive_rate'], curve['true_positive_rate']
        axes.plot(
            x,
            y,
            linewidth=1.2 if len(curves) > 1 else 2,
            alpha=0.6 if len(curves) > 1 else 1,
            label=f'{name}: {curve["auc"]:.3f}',
        )
        heights.append(np.interp(grid, x, y))
    if len(curves) > 1:
        mean, deviation = np.mean(heights, axis=0), np.std(heights, axis=0, ddof=1)
        areas = [curve['auc'] for curve in curves.values()]
        axes.plot(
            grid,
            mean,
            color='black',
            linewidth=2,
            label=f'mean: {np.mean(areas):.3f} ± {np.std(areas, ddof=1):.3f}',
        )
        axes.fill_between(
            grid,
            (mean - deviation).clip(0),
            (mean + deviation).clip(max=1),
            color='black',
            alpha=0.12,
            linewidth=0,
        )
    axes.plot([0, 1], [0, 1], color='gray', linestyle=':', linewidth=1)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.005),
        title=title,
        xlabel='1 - specificity',
        ylabel='sensitivity',
    )
    axes.grid(alpha=0.3)
    axes.legend(title='area under the curve', loc='lower right', fontsize=9)
    _write(figure, out_file)


def draw_epoch_curves(
    curves: Mapping[str, Mapping[str, Any]],
    out_file: str | os.PathLike[str],
    title: str = 'Test folds',
) -> None:
    """Draw accuracy (solid) and loss (dashed) by epoch.

    Source: Lei et al., arXiv 1810.12494, Fig. 4.

    Args:
        curves: Curves by name, each with lists of one length: ``epoch``,
            ``accuracy`` in [0, 1] and ``loss``.
        out_file: PNG to write.
        title: Title.

    Raises:
        ValueError: If there is no curve.
    """
    if not curves:
        raise ValueError('There is no curve to draw.')
    figure = Figure(figsize=(7, 4.5), layout='constrained')
    axes = figure.add_subplot()
    losses = axes.twinx()
    for name, curve in curves.items():
        (line,) = axes.plot(curve['epoch'], curve['accuracy'], label=name)
        losses.plot(
            curve['epoch'], curve['loss'], linestyle='--', color=line.get_color()
        )
    axes.set(xlabel='epoch', ylabel='accuracy (solid)', title=title)
    losses.set_ylabel('loss (dashed)')
    losses.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc='best', fontsize=9)
    _write(figure, out_file)


def _write(figure: Figure, out_file: str | os.PathLike[str]) -> None:
    Path(out_file).parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(out_file, dpi=120)
