"""Interval of a statistic by a bootstrap over groups of cases."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt


def group_bootstrap(
    statistic: Callable[[np.ndarray], npt.ArrayLike],
    groups: Sequence | np.ndarray,
    confidence: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the interval of one or more statistics of cases.

    Each resample draws as many groups as there are, with replacement, and takes all
    their cases. Cases of one patient are not independent, so the groups are usually the
    patients.

    Args:
        statistic: Function from the indices of the drawn cases to a number or an array
            of numbers. Resamples in which a number is NaN do not count for it.
        groups: Group of each case.
        confidence: Confidence level of the interval.
        num_resamples: Number of resamples.
        seed: Random seed of the resamples.

    Returns:
        Lower and upper bound (percentiles of the resamples), in the shape of the
        statistic. NaN with fewer than two groups or without resamples.

    Shape:
        - groups: (N,)

    Raises:
        ValueError: If ``confidence`` is not within 0 and 1, or there are no cases.
    """
    groups = np.asarray(groups)
    if not 0 < confidence < 1:
        raise ValueError(f'confidence must be within 0 and 1, got {confidence}.')
    if not len(groups):
        raise ValueError('expected at least one case, got none.')
    names, place = np.unique(groups, return_inverse=True)
    if len(names) < 2 or not num_resamples:
        nan = np.full(np.shape(statistic(np.arange(len(groups)))), np.nan)
        return nan, nan.copy()
    members = [np.flatnonzero(place == number) for number in range(len(names))]
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(num_resamples):
        drawn = rng.integers(len(names), size=len(names))
        cases = np.concatenate([members[number] for number in drawn])
        found.append(np.asarray(statistic(cases), np.float64))
    samples = np.stack(found)
    flat = samples.reshape(num_resamples, -1)
    bounds = np.full((2, flat.shape[1]), np.nan)
    known = ~np.isnan(flat).all(0)
    if known.any():
        bounds[:, known] = np.nanquantile(
            flat[:, known], [(1 - confidence) / 2, (1 + confidence) / 2], axis=0
        )
    low, high = bounds.reshape(2, *samples.shape[1:])
    return low, high
