"""Means of the intensity phases of a slice."""

import numpy as np

#: HU range of the intensities, from air to dense tissue. Our choice; it is the
#: window of the nodule data sets.
PHASE_WINDOW_HU = (-1000.0, 400.0)


def phase_means(
    image: np.ndarray,
    num_phases: int = 4,
    value_range: tuple[float, float] = PHASE_WINDOW_HU,
    max_rounds: int = 100,
) -> np.ndarray:
    r"""Estimate the phase means of a slice from its whole intensity distribution.

    These are the means of the piecewise constant model without its smoothness term
    (k-means): pixels are assigned to the nearest mean and means are recomputed from
    their pixels until convergence. The initial means are the centers of ``num_phases``
    equal parts of ``value_range``, not quantiles. A nodule covers a few of a thousand
    pixels, and phases that start at quantiles would only divide the lung and the chest
    wall. A phase without pixels keeps its initial value.

    In chest CT, the four phases are near lung, partial volume, soft tissue and bone.
    Estimate them once on the whole slice, because the small region around a nodule has
    a different distribution.

    Source: Feng et al., arXiv 1707.01086, Sec. 2.2 ("phase number equal to four as
    determined by global intensity distribution"). The paper does not specify the
    method.

    Args:
        image: Intensities of any shape; or with C channels, (H, W, C) or any shape
            whose last size is C, if ``value_range`` contains C pairs.
        num_phases: Number of phases K.
        value_range: Lower and upper end of the range, or one pair per channel;
            values outside are clipped. Defaults to a window in HU.
        max_rounds: Maximum number of iterations.

    Returns:
        Float64, ascending means (K, ), or (K, C) for channels.

    Raises:
        ValueError: If the image is empty or not finite, or the range is empty.
    """
    limits = np.atleast_2d(np.asarray(value_range, float))  # (C, 2)
    if limits.shape[1] != 2 or not (limits[:, 0] < limits[:, 1]).all():
        raise ValueError(
            'value_range must be (low, high) with low < high, or one such '
            f'pair for each channel, got {value_range}.'
        )
    if num_phases < 2:
        raise ValueError(f'num_phases must be 2 or more, got {num_phases}.')
    pixels = np.asarray(image, float).reshape(-1, len(limits))
    if not pixels.size or not np.isfinite(pixels).all():
        raise ValueError(
            'the image is empty or holds values that are not finite: it '
            'has no intensity distribution.'
        )
    pixels = np.clip(pixels, limits[:, 0], limits[:, 1])
    parts = (np.arange(num_phases) + 0.5) / num_phases
    means = limits[:, 0] + parts[:, None] * (limits[:, 1] - limits[:, 0])  # (K, C)
    # Group equal values: a windowed slice has only a few hundred different values.
    values, counts = np.unique(pixels, axis=0, return_counts=True)
    for _ in range(max_rounds):
        nearest = ((values[None] - means[:, None]) ** 2).sum(2).argmin(0)
        sizes = np.bincount(nearest, counts, num_phases)
        sums = np.stack(
            [
                np.bincount(nearest, counts * channel, num_phases)
                for channel in values.T
            ],
            1,
        )
        moved = np.where(
            sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], means
        )
        if np.array_equal(moved, means):
            break
        means = moved
    return means[:, 0] if np.ndim(value_range) == 1 else means
