"""Reliability diagram: probabilities against shares of positive cases."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmlesion.evaluation.functional import brier_score, calibration_error, reliability


def draw_reliability(
    cases: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    out_file: str | os.PathLike[str],
    num_bins: int = 10,
    title: str = 'Reliability',
) -> None:
    """Draw the share of positive cases against the mean probability.

    Below, a histogram shows the number of cases in each bin.

    Args:
        cases: Probabilities and labels by name, such as before and after calibration.
        out_file: PNG to write.
        num_bins: Number of bins of equal width.
        title: Title.

    Raises:
        ValueError: If there are no cases.
    """
    if not cases:
        raise ValueError('There are no cases for a reliability diagram.')
    figure = Figure(figsize=(6, 7), layout='constrained')
    above, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    above.plot([0, 1], [0, 1], color='gray', linewidth=1, linestyle='--')
    edges = np.linspace(0, 1, num_bins + 1)
    for name, (scores, labels) in cases.items():
        bins = reliability(scores, labels, num_bins)
        seen = bins['count'] > 0
        label = (
            f'{name}: Brier {brier_score(scores, labels):.3f}, '
            f'ECE {calibration_error(scores, labels, num_bins):.3f}'
        )
        (line,) = above.plot(
            bins['mean_score'][seen],
            bins['share_positive'][seen],
            marker='o',
            markersize=4,
            label=label,
        )
        below.stairs(bins['count'], edges, color=line.get_color(), linewidth=1.5)
    above.set(ylabel='share of positive cases', title=title, xlim=(0, 1), ylim=(0, 1))
    above.legend(loc='upper left', frameon=False)
    below.set(xlabel='predicted probability', ylabel='cases')
    Path(out_file).parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(out_file, dpi=120)
