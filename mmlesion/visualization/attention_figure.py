"""Figures of contextual and spatial attention."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmlesion.ct import window_hu

from .ct_visualizer import choose_window

_BOX_COLOR = '#4080ff'  # as ground truth in CTVisualizer


def draw_contextual_attention(
    weights: np.ndarray,
    slices_hu: np.ndarray,
    box_px: Sequence[float],
    out_file: str | Path,
    title: str = '',
    window: tuple[float, float] | None = None,
) -> None:
    r"""Draw the weight of each slice at each cell of a lesion.

    Each row of the heat maps belongs to the patch on its left, which is the middle
    slice of a triple. Each column belongs to one cell (y, x) of the lesion in the
    feature map, and shows the vector :math:`C''^{y,x} \in \mathbb{R}^M`.

    Source: Tao et al., MICCAI 2019, Sec. 4 and Fig. 2. The paper does not say which
    channels are shown. This figure shows the mean over all channels, and the channel
    whose weights vary most over slices and cells of the lesion.

    Args:
        weights: Attention divided by its maximum over M, in
            [0, 1].
        slices_hu: Middle slice of each triple in the network input, in HU, padded
            like the features.
        box_px: Box of the lesion, xyxy pixels of ``slices_hu``.
        out_file: PNG to write.
        title: Name of the sample.
        window: Display window in HU.

    Shape:
        - weights: (M, C, h, w).
        - slices_hu: (M, H, W).

    Raises:
        ValueError: If the shapes of weights and slices are inconsistent.
    """
    rows, cols = _lesion_cells(weights, slices_hu, box_px)
    lesion = weights[:, :, rows, cols]
    lesion = lesion.reshape(*weights.shape[:2], -1)  # (M, C, cells)
    channel = lesion.var(axis=(0, 2)).argmax()
    names = slice_names(len(weights))
    cells = [
        f'{y},{x}'
        for y in range(rows.start, rows.stop)
        for x in range(cols.start, cols.stop)
    ]

    height = 1.15 * len(names)
    figure = Figure(figsize=(15, height + 1.9))
    grid = figure.add_gridspec(
        len(names),
        7,
        width_ratios=[1.2, 0.05, 6, 0.18, 0.75, 6, 0.18],
        hspace=0.06,
        wspace=0.06,
        left=0.05,
        right=0.94,
        top=1 - 0.95 / (height + 1.9),
        bottom=0.95 / (height + 1.9),
    )
    patches = _patches(slices_hu, box_px)
    window = window or choose_window(slices_hu[len(names) // 2], [box_px])
    for index, (patch, box) in enumerate(patches):
        axes = figure.add_subplot(grid[index, 0])
        _show_slice(axes, patch, box, window)
        axes.set_ylabel(names[index], rotation=0, ha='right', va='center')
    mean = lesion.mean(axis=1)
    for column, attention, title_of_map, (low, high) in (
        (2, mean, f'mean of {weights.shape[1]} channels', _range(mean)),
        (5, lesion[:, channel], f'channel {channel}, which varies most', (0, 1)),
    ):
        axes = figure.add_subplot(grid[:, column])
        axes.set_title(title_of_map, fontsize=11)
        _show_cells(axes, attention, (low, high), cells)
        figure.colorbar(
            axes.images[0],
            cax=figure.add_subplot(grid[:, column + 1]),
            label='attention / maximum over slices',
        )
    figure.suptitle(f'Contextual attention at a lesion   {title}', fontsize=13)
    _write(figure, out_file)


def _show_cells(
    axes: Axes, attention: np.ndarray, limits: tuple[float, float], cells: list[str]
) -> None:
    """Show the attention (M, cells) of each slice at each cell."""
    axes.imshow(
        attention,
        aspect='auto',
        vmin=limits[0],
        vmax=limits[1],
        cmap='viridis',
        interpolation='nearest',
    )
    axes.set_yticks([])
    step = -(-len(cells) // 16)  # at most 16 labels fit
    axes.set_xticks(range(0, len(cells), step), cells[::step], rotation=90, fontsize=8)
    axes.set_xlabel('cell of the feature map (y, x)')


def draw_spatial_attention(
    weights: np.ndarray,
    slices_hu: np.ndarray,
    box_px: Sequence[float] | None,
    out_file: str | Path,
    title: str = '',
    window: tuple[float, float] | None = None,
) -> None:
    r"""Draw the spatial attention of each slice.

    The rows are the slices, the mean of the attention over the channels, and one
    channel. The columns are the M images; K is the key image.

    Source: Tao et al., MICCAI 2019, Sec. 4 and Fig. 3. The paper does not say which
    channels are shown. This figure shows the mean over all channels, and the channel
    that varies most over the images and their cells.

    Args:
        weights: Attention divided by its maximum over the cells
            of each channel, in [0, 1].
        slices_hu: Middle slice of each triple in the network input, in HU, padded
            like the features.
        box_px: Box of the lesion, xyxy pixels of ``slices_hu``. No box by default.
        out_file: PNG to write.
        title: Name of the sample.
        window: Display window in HU.

    Shape:
        - weights: (M, C, h, w).
        - slices_hu: (M, H, W).

    Raises:
        ValueError: If the shapes of weights and slices are inconsistent.
    """
    _check(weights, slices_hu)
    channel = weights.var(axis=(0, 2, 3)).argmax()
    names = slice_names(len(weights))
    boxes = [] if box_px is None else [box_px]
    window = window or choose_window(slices_hu[len(names) // 2], boxes)
    height, width = slices_hu.shape[1:]
    side = 2.2  # inches per panel; 1.06 includes the gap
    total_width = 1.06 * side * len(names) + 2.2
    total_height = 3 * 1.1 * side * height / width + 1.0
    figure = Figure(figsize=(total_width, total_height))
    grid = figure.add_gridspec(
        3,
        len(names) + 1,
        width_ratios=[1] * len(names) + [0.06],
        hspace=0.1,
        wspace=0.06,
        left=1 / total_width,
        right=1 - 0.9 / total_width,
        top=1 - 0.85 / total_height,
        bottom=0.1 / total_height,
    )
    images = [None, weights.mean(axis=1), weights[:, channel]]
    labels = [
        'slice',
        f'mean of\n{weights.shape[1]}\nchannels',
        f'channel\n{channel},\nwhich\nvaries\nmost',
    ]
    ranges = [(None, None), _range(images[1]), (0, 1)]
    for row, (maps, label, limits) in enumerate(zip(images, labels, ranges)):
        cells = [grid[row, index] for index in range(len(names))]
        row_axes = [figure.add_subplot(cell) for cell in cells]
        row_axes[0].set_ylabel(label, rotation=0, ha='right', va='center')
        for index, axes in enumerate(row_axes):
            if maps is None:
                _show_slice(axes, slices_hu[index], box_px, window)
                axes.set_title(names[index], fontsize=11)
            else:
                _show_map(axes, maps[index], limits, (height, width), box_px)
            axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        if maps is not None:
            figure.colorbar(
                row_axes[-1].images[0],
                cax=figure.add_subplot(grid[row, len(names)]),
                label='attention / maximum',
            )
    figure.suptitle(f'Spatial attention   {title}', fontsize=13)
    _write(figure, out_file)


def slice_names(num_images: int) -> list[str]:
    """Return the names K-2, K-1, K, K+1, ... of the images; K is the key image.

    Args:
        num_images: Number of images M, odd.

    Returns:
        M names.
    """
    middle = num_images // 2
    return [
        f'K{index - middle:+d}' if index != middle else 'K'
        for index in range(num_images)
    ]


def _check(weights: np.ndarray, slices_hu: np.ndarray) -> None:
    if weights.ndim != 4 or slices_hu.ndim != 3 or len(weights) != len(slices_hu):
        raise ValueError(
            'weights of shape (M, C, h, w) and slices of shape (M, H, W) were '
            f'expected, not {weights.shape} and {slices_hu.shape}.'
        )


def _range(mean: np.ndarray) -> tuple[float, float]:
    """Color range of a mean over channels.

    Channels peak at different positions, so their mean varies little and needs its own
    range. The range has a minimum width for constant means.
    """
    high = max(mean.max(), 0.05)
    return min(mean.min(), high - 0.05), high


def _lesion_cells(
    weights: np.ndarray, slices_hu: np.ndarray, box_px: Sequence[float]
) -> tuple[slice, slice]:
    """Return rows and columns of the feature cells in a box, at least one cell."""
    _check(weights, slices_hu)

    def touched(low, high, size_px, size):
        stride = size_px / size
        first = int(np.clip(np.floor(low / stride), 0, size - 1))
        last = int(np.clip(np.ceil(high / stride), first + 1, size))
        return slice(first, last)

    x1, y1, x2, y2 = box_px
    return (
        touched(y1, y2, slices_hu.shape[1], weights.shape[2]),
        touched(x1, x2, slices_hu.shape[2], weights.shape[3]),
    )


def _patches(
    slices_hu: np.ndarray, box_px: Sequence[float]
) -> list[tuple[np.ndarray, tuple[float, ...]]]:
    """Return a square patch of each slice around the box, and the box in the patch."""
    x1, y1, x2, y2 = box_px
    side = int(np.ceil(2 * max(x2 - x1, y2 - y1, 8)))
    left = int(round((x1 + x2) / 2 - side / 2))
    top = int(round((y1 + y2) / 2 - side / 2))
    padded = np.pad(
        slices_hu, ((0, 0), (side, side), (side, side)), constant_values=-1024
    )  # air outside the border
    top_p, left_p = max(top + side, 0), max(left + side, 0)
    box = (x1 - left, y1 - top, x2 - left, y2 - top)
    return [
        (patch[top_p : top_p + side, left_p : left_p + side], box) for patch in padded
    ]


def _show_slice(
    axes: Axes,
    slice_hu: np.ndarray,
    box_px: Sequence[float] | None,
    window: tuple[float, float],
) -> None:
    axes.imshow(window_hu(slice_hu, window), cmap='gray', vmin=0, vmax=255)
    axes.set(xticks=[], yticks=[])
    _outline(axes, box_px, _BOX_COLOR)


def _show_map(
    axes: Axes,
    values: np.ndarray,
    limits: tuple[float, float],
    size_px: tuple[int, int],
    box_px: Sequence[float] | None,
) -> None:
    """Show a map over the extent of its slice."""
    axes.imshow(
        values,
        vmin=limits[0],
        vmax=limits[1],
        cmap='viridis',
        extent=(-0.5, size_px[1] - 0.5, size_px[0] - 0.5, -0.5),
    )
    axes.set(xticks=[], yticks=[])
    _outline(axes, box_px, 'white')


def _outline(axes: Axes, box_px: Sequence[float] | None, color: str) -> None:
    if box_px is None:
        return
    x1, y1, x2, y2 = box_px
    axes.add_patch(
        Rectangle(
            (x1 - 0.5, y1 - 0.5),
            x2 - x1,
            y2 - y1,
            fill=False,
            edgecolor=color,
            linewidth=1.2,
        )
    )


def _write(figure: Figure, out_file: str | Path) -> None:
    Path(out_file).parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(out_file, dpi=110)
