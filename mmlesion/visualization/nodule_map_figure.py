"""Figure of the maps of several methods on the same slices or nodules."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .map_overlay import overlay_map

_WRONG = '#d40000'
_OUTLINE = '#40e0ff'


def draw_nodule_maps(
    pictures: Sequence[np.ndarray] | np.ndarray,
    masks: Sequence[np.ndarray] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    maps: Mapping[str, Sequence[np.ndarray] | np.ndarray],
    scores: Mapping[str, Sequence[float] | np.ndarray],
    out_file: str | Path,
    columns: Sequence[str] | None = None,
    title: str = '',
) -> None:
    """Draw images in a row, and below them one row of maps per method.

    The malignancy score is written under each map, in red if it is on the wrong side
    of 0.5. The outline of the nodule is drawn on every image and map.

    Source: Lei et al., arXiv 1810.12494, Figs. 5 and 6 (slices of one nodule as
    columns) and Fig. 1 (nodules as columns). Differs from it in: the outline.

    Args:
        pictures: Images with gray values. Each image has its own scale.
        masks: Nodule masks, bool.
        labels: Label of each column, 1 for malignant and 0 for benign.
        maps: Maps in [0, 1] by name of the method.
        scores: Malignancy scores in [0, 1] by name of the method.
        out_file: PNG to write.
        columns: Titles of the columns.
        title: Title of the figure.

    Shape:
        - pictures, masks: (K, H, W)
        - maps: each (K, h, w)
        - scores: each (K,)

    Raises:
        ValueError: If there is no column, or the numbers of images, masks, labels,
            maps and scores differ.
    """
    count = len(pictures)
    lengths = [
        len(masks),
        len(labels),
        *map(len, maps.values()),
        *(len(scores.get(name, ())) for name in maps),
    ]
    if not count or set(lengths) != {count}:
        raise ValueError(
            f'{count} pictures need as many masks, labels, maps and '
            f'scores, got {lengths}.'
        )
    rows = 1 + len(maps)
    figure = Figure(
        figsize=(1.45 * count + 0.6, 1.62 * rows + 0.5), layout='constrained'
    )
    grid = figure.subplots(rows, count, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for column, (picture, mask) in enumerate(zip(pictures, masks)):
        blank = np.zeros((1, 1))
        _draw(grid[0, column], picture, blank, mask)
        if columns is not None:
            grid[0, column].set_title(columns[column], fontsize=9)
        for row, (name, heat) in enumerate(maps.items(), 1):
            axes, score = grid[row, column], float(scores[name][column])
            _draw(axes, picture, heat[column], mask)
            wrong = (score > 0.5) != bool(labels[column])
            axes.set_xlabel(
                f'{score:.3f}',
                fontsize=9,
                labelpad=2,
                color=_WRONG if wrong else 'black',
            )
    for row, name in enumerate(['CT', *maps]):
        grid[row, 0].set_ylabel(name, fontsize=10)
    figure.suptitle(title, fontsize=11)
    Path(out_file).parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(out_file, dpi=110)


def _draw(axes: Axes, picture: np.ndarray, heat: np.ndarray, mask: np.ndarray) -> None:
    axes.imshow(overlay_map(picture, heat, opacity=0.65))
    if mask.any() and not mask.all():
        axes.contour(mask, [0.5], colors=_OUTLINE, linewidths=0.8)
