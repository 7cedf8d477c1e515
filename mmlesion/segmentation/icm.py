"""Phases of an image by iterated conditional modes."""

import numpy as np

#: Steps to a pixel's neighbours, and the weight of each: an edge counts 1, a
#: corner 1 / sqrt(2), the inverse of its distance.
NEIGHBOURS = tuple(
    (dy, dx, 1.0 if dy * dx == 0 else 0.5**0.5)
    for dy in (-1, 0, 1)
    for dx in (-1, 0, 1)
    if dy or dx
)


def segment_phases(
    image: np.ndarray, means: np.ndarray, smoothness: float, max_sweeps: int = 100
) -> np.ndarray:
    r"""Label each pixel with a phase of known mean; neighbours like to agree.

    A local minimum, over the labels L, of

    .. math::
        E(L) = \sum_p \lVert I_p - \mu_{L_p} \rVert^2
               + \beta \sum_{\{p, q\}} w_{pq} [L_p \ne L_q]

    with pairs of the 8-neighbourhood, w = 1 across an edge and
    :math:`1/\sqrt 2` across a corner. The start is the nearest mean. A sweep gives
    each pixel the label of least energy given its neighbours, the old one where it
    is as good. Pixels of even and odd rows and columns are four sets in which no
    two are neighbours: all of a set change at once, exactly as one after the other,
    so the energy never rises. It ends when a sweep changes nothing.

    Source: Besag, "On the Statistical Analysis of Dirty Pictures", J. R. Stat. Soc.
    B 48 (1986), for the sweep; the use of phases of constant mean as in Feng et
    al., arXiv 1707.01086, Sec. 2.2, after Israel-Jost et al., ISBI 2008. Differs
    from them in: the means stay as given (see :func:`phase_means`).

    Args:
        image: (H, W), or (H, W, C) of C channels, each scaled by the caller to
            count as it should.
        means: Of K phases, (K, ) or (K, C), in units of the image.
        smoothness: :math:`\beta`, in squared units of the image.
        max_sweeps: Most sweeps.

    Returns:
        Int64 (H, W), phases from 0, in the order of ``means``.

    Raises:
        ValueError: The shapes do not fit, the image is not finite, or
            ``smoothness`` is negative.
    """
    cost = _data_term(image, means)  # (K, H, W)
    if smoothness < 0:
        raise ValueError(f'smoothness must not be negative, got {smoothness}.')
    labels = cost.argmin(0)
    height, width = labels.shape
    # Flat, with a frame of one more label, that of no phase
    framed = np.pad(labels, 1, constant_values=len(cost)).ravel()
    neighbours = [
        (dy * (width + 2) + dx, np.float32(smoothness * weight))
        for dy, dx, weight in NEIGHBOURS
    ]
    sets = _undecided(cost, smoothness)
    for _ in range(max_sweeps):
        changed = [_update(framed, neighbours, *each) for each in sets]
        if not any(changed):
            break
    return framed.reshape(height + 2, width + 2)[1:-1, 1:-1].copy()


def potts_energy(
    image: np.ndarray, labels: np.ndarray, means: np.ndarray, smoothness: float
) -> float:
    """Energy that :func:`segment_phases` lowers, in squared units of the image."""
    cost = _data_term(image, means)
    height, width = labels.shape
    total = np.take_along_axis(cost, labels[None], 0).sum(dtype=float)
    for dy, dx, weight in NEIGHBOURS:
        here = labels[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
        there = labels[
            max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)
        ]
        # each pair is seen from both of its pixels
        total += 0.5 * smoothness * weight * np.count_nonzero(here != there)
    return float(total)


def _data_term(image, means):
    """Squared distance of each pixel from each mean, float32 (K, H, W)."""
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
    return sum(
        (channel - mean[:, None, None]) ** 2
        for channel, mean in zip(np.moveaxis(image, 2, 0), means.T)
    )


def _undecided(cost, smoothness):
    """Places in the framed image, and costs, of pixels that neighbours could move.

    All neighbours together weigh so much; a pixel whose nearest mean is nearer than
    the next by more keeps its label, whatever theirs.
    """
    most = smoothness * sum(weight for _, _, weight in NEIGHBOURS)
    undecided = np.count_nonzero(cost <= cost.min(0) + np.float32(most), axis=0) > 1
    sets = []
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        rows, columns = np.nonzero(undecided[y::2, x::2])
        rows, columns = 2 * rows + y, 2 * columns + x
        place = (rows + 1) * (cost.shape[2] + 2) + columns + 1
        costs = np.pad(cost[:, rows, columns], ((0, 1), (0, 0)), constant_values=np.inf)
        sets.append((place, costs))  # (n, ), (K + 1, n)
    return sets


def _update(framed, neighbours, place, costs) -> bool:
    """Relabel the pixels of one set, in place; whether any changed."""
    energy, pixels = costs.copy(), np.arange(len(place))
    for step, weight in neighbours:
        energy[framed[place + step], pixels] -= weight
    old, best = framed[place], energy.argmin(0)
    better = energy[best, pixels] < energy[old, pixels]
    framed[place[better]] = best[better]
    return bool(better.any())
