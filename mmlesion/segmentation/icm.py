"""Phases of an image by iterated conditional modes."""

import numpy as np

#: Steps to the neighbors of a pixel, and their weights: the inverse of the distance,
#: 1 across an edge and 1 / sqrt(2) across a corner.
NEIGHBORS = tuple(
    (dy, dx, 1.0 if dy * dx == 0 else 0.5**0.5)
    for dy in (-1, 0, 1)
    for dx in (-1, 0, 1)
    if dy or dx
)


def segment_phases(
    image: np.ndarray, means: np.ndarray, smoothness: float, max_sweeps: int = 100
) -> np.ndarray:
    r"""Label each pixel with a phase of known mean, with a Potts smoothness term.

    Finds a local minimum over the labels L of

    .. math::
        E(L) = \sum_p \lVert I_p - \mu_{L_p} \rVert^2
               + \beta \sum_{\{p, q\}} w_{pq} [L_p \ne L_q]

    with pairs of the 8-neighborhood, w = 1 across an edge and
    :math:`1/\sqrt 2` across a corner. The initial label is that of the nearest mean. A
    sweep assigns to each pixel the label with the lowest energy given its neighbors,
    and keeps the old label in a tie. Even and odd rows and columns divide the pixels
    into four sets. No two pixels of a set are neighbors, so a simultaneous update of a
    set equals a sequential update, and the energy never increases. The algorithm stops
    when a sweep changes no label.

    Source: Besag, "On the Statistical Analysis of Dirty Pictures", J. R. Stat. Soc.
    B 48 (1986), for the sweep. Phases of constant mean are used as in Feng et al.,
    arXiv 1707.01086, Sec. 2.2, after Israel-Jost et al., ISBI 2008. Differs from them
    in that the means are fixed (see :func:`phase_means`).

    Args:
        image: (H, W), or (H, W, C). The scale of a channel is its weight.
        means: Means of the K phases, (K, ) or (K, C), in units of the image.
        smoothness: :math:`\beta`, in squared units of the image.
        max_sweeps: Maximum number of sweeps.

    Returns:
        Int64 (H, W), phases from 0, in the order of ``means``.

    Raises:
        ValueError: If the shapes are inconsistent, the image is not finite, or
            ``smoothness`` is negative.
    """
    cost = _data_term(image, means)  # (K, H, W)
    if smoothness < 0:
        raise ValueError(f'smoothness must not be negative, got {smoothness}.')
    labels = cost.argmin(0)
    height, width = labels.shape
    # Flattened, with a border of label K, which means no phase.
    framed = np.pad(labels, 1, constant_values=len(cost)).ravel()
    neighbors = [
        (dy * (width + 2) + dx, np.float32(smoothness * weight))
        for dy, dx, weight in NEIGHBORS
    ]
    sets = _undecided(cost, smoothness)
    # A pixel can only change if a neighbor has changed since its last update.
    waiting = np.ones(framed.shape, bool)
    for _ in range(max_sweeps):
        changed = [_update(framed, waiting, neighbors, *each) for each in sets]
        if not any(changed):
            break
    return framed.reshape(height + 2, width + 2)[1:-1, 1:-1].copy()


def potts_energy(
    image: np.ndarray, labels: np.ndarray, means: np.ndarray, smoothness: float
) -> float:
    """Return the energy of :func:`segment_phases`, in squared units of the image."""
    cost = _data_term(image, means)
    height, width = labels.shape
    total = np.take_along_axis(cost, labels[None], 0).sum(dtype=float)
    for dy, dx, weight in NEIGHBORS:
        here = labels[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
        there = labels[
            max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)
        ]
        # The sum visits each pair from both of its pixels.
        total += 0.5 * smoothness * weight * np.count_nonzero(here != there)
    return float(total)


def _data_term(image: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return the squared distance of each pixel from each mean, float32 (K, H, W)."""
    image, means = np.asarray(image, np.float32), np.asarray(means, np.float32)
    if image.ndim == 2 and means.ndim == 1:
        image, means = image[..., None], means[:, None]
    if image.ndim != 3 or means.ndim != 2 or image.shape[2] != means.shape[1]:
        raise ValueError(
            'expected an image (H, W) with means (K, ), or (H, W, C) with (K, C), got '
            f'{image.shape} and {means.shape}.'
        )
    if not np.isfinite(image).all():
        raise ValueError('the image holds values that are not finite.')
    return np.asarray(
        sum(
            (channel - mean[:, None, None]) ** 2
            for channel, mean in zip(np.moveaxis(image, 2, 0), means.T)
        )
    )


def _undecided(
    cost: np.ndarray, smoothness: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return positions in the framed image and costs of pixels whose label may change.

    The other pixels keep their label: the costs of their two nearest means differ by
    more than the weight of all neighbors together.
    """
    most = smoothness * sum(weight for _, _, weight in NEIGHBORS)
    undecided = np.count_nonzero(cost <= cost.min(0) + np.float32(most), axis=0) > 1
    sets = []
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        rows, columns = np.nonzero(undecided[y::2, x::2])
        rows, columns = 2 * rows + y, 2 * columns + x
        place = (rows + 1) * (cost.shape[2] + 2) + columns + 1
        costs = np.full((len(place), len(cost) + 1), np.inf, np.float32)
        costs[:, :-1] = cost[:, rows, columns].T
        sets.append((place, costs))  # (n, ), (n, K + 1)
    return sets


def _update(
    framed: np.ndarray,
    waiting: np.ndarray,
    neighbors: list[tuple[int, np.float32]],
    place: np.ndarray,
    costs: np.ndarray,
) -> bool:
    """Relabel the waiting pixels of one set in place; return whether any changed."""
    chosen = np.flatnonzero(waiting[place])
    if len(chosen) < len(place):
        place, costs = place[chosen], costs[chosen]
    waiting[place] = False
    num_labels = costs.shape[1]  # the frame is the last
    energy = costs.copy()
    flat, rows = energy.ravel(), np.arange(0, energy.size, num_labels)
    for step, weight in neighbors:
        flat[rows + framed[place + step]] -= weight
    old, best = framed[place], energy.argmin(1)
    better = np.flatnonzero(flat[rows + best] < flat[rows + old])
    moved = place[better]
    framed[moved] = best[better]
    for step, _ in neighbors:
        waiting[moved + step] = True
    return bool(moved.size)
