"""Figures of FROC curves."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from mmlesion.evaluation.functional import FROCCurve

_FP_TICKS = (0.125, 0.25, 0.5, 1, 2, 4, 8, 16)
_FP_MARKS = (0.5, 1, 2, 4, 8, 16)  # false positives per image in the papers


def draw_froc(
    curves: Mapping[str, FROCCurve | Mapping[str, Any]],
    out_file: str | os.PathLike[str],
    intervals: Mapping[str, Mapping[float, tuple[float, float]]] | None = None,
    title: str = 'FROC',
    fp_named: float = 2,
) -> None:
    """Draw FROC curves over false positives per image on a log2 axis.

    Args:
        curves: Curves by name. A mapping is the result of
            :meth:`FROCCurve.to_dict`.
        out_file: PNG to write.
        intervals: Lower and upper bound of the sensitivity by false positives per
            image, for some of the names, drawn as a band.
        title: Title.
        fp_named: False positives per image at which the legend shows the
            sensitivity.

    Raises:
        ValueError: If there is no curve, or a mapping is not a valid curve.
    """
    if not curves:
        raise ValueError('There is no FROC curve to draw.')
    fps = np.geomspace(_FP_TICKS[0], _FP_TICKS[-1], 400)
    figure = Figure(figsize=(7.5, 5.5), layout='constrained')
    axes = figure.add_subplot()
    for name, curve in curves.items():
        if not isinstance(curve, FROCCurve):
            curve = FROCCurve.from_dict(dict(curve))
        (line,) = axes.plot(
            fps,
            curve.sensitivity_at(fps),
            linewidth=1.8,
            label=f'{name}: {curve.sensitivity_at(fp_named):.3f} '
            f'({curve.num_lesions} lesions)',
        )
        axes.plot(
            _FP_MARKS,
            curve.sensitivity_at(_FP_MARKS),
            'o',
            markersize=4,
            color=line.get_color(),
        )
        bounds = sorted(
            (float(fp), *pair) for fp, pair in (intervals or {}).get(name, {}).items()
        )
        if bounds:
            low_fps, lows, highs = zip(*bounds)
            axes.fill_between(
                low_fps, lows, highs, alpha=0.18, linewidth=0, color=line.get_color()
            )
    axes.set_xscale('log', base=2)
    axes.set_xticks(_FP_TICKS, [f'{tick:g}' for tick in _FP_TICKS])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(np.linspace(0, 1, 11))
    axes.set(
        xlim=(_FP_TICKS[0], _FP_TICKS[-1]),
        ylim=(0, 1),
        title=title,
        xlabel='false positives per image',
        ylabel='sensitivity',
    )
    axes.grid(alpha=0.3)
    axes.legend(
        title=f'sensitivity at {fp_named:g} false positives per image',
        loc='best',
        fontsize=9,
        title_fontsize=9,
    )
    Path(out_file).parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(out_file, dpi=120)
