"""The FROC curve as a picture."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from mmlesion.evaluation.functional import FROCCurve

_FP_TICKS = (0.125, 0.25, 0.5, 1, 2, 4, 8, 16)
_FP_MARKS = (0.5, 1, 2, 4, 8, 16)  # where the papers read the curve


def draw_froc(curves, out_file, intervals=None, title='FROC', fp_named=2):
    """Draw FROC curves over false positives per image on a log2 axis.

    Args:
        curves (dict[str, FROCCurve or dict]): Curves by name; a dict is one of
            :meth:`FROCCurve.to_dict`.
        out_file (str or Path): PNG to write.
        intervals (dict[str, dict], optional): For some of the names, false
            positives per image -> (lower, upper) bound of the sensitivity,
            drawn as a band.
        title (str): Title.
        fp_named (float): False positives per image whose sensitivity stands in
            the legend.

    Raises:
        ValueError: There is no curve, or a dict is none.
    """
    if not curves:
        raise ValueError('No FROC curve to draw.')
    fps = np.geomspace(_FP_TICKS[0], _FP_TICKS[-1], 400)
    figure = Figure(figsize=(7.5, 5.5), layout='constrained')
    axes = figure.add_subplot()
    for name, curve in curves.items():
        if isinstance(curve, dict):
            curve = FROCCurve.from_dict(curve)
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
            axes.fill_between(
                *zip(*bounds), alpha=0.18, linewidth=0, color=line.get_color()
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
