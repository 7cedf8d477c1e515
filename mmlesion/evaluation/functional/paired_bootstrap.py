"""Interval of the difference of two methods on the same cases."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class PairedDifference(NamedTuple):
    """Mean difference of two methods with its interval.

    Attributes:
        difference: Mean of first minus second.
        low: Lower end of the interval.
        high: Upper end of the interval.
        num_cases: Cases that have both values.
        num_groups: Groups (patients) of these cases.
    """

    difference: float
    low: float
    high: float
    num_cases: int
    num_groups: int


def paired_bootstrap(
    first: Sequence[float],
    second: Sequence[float],
    groups: Sequence | np.ndarray,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> PairedDifference:
    """Compute the mean difference of paired values with a bootstrap over groups.

    Each resample draws as many groups as there are, with replacement, and takes all
    their cases. Cases of one patient are not independent, so the groups are the
    patients.

    Args:
        first: Values of one method, one per case. Cases with NaN in
            either method are omitted.
        second: Values of the other method on the same cases.
        groups: Group of each case.
        confidence: Confidence level of the interval.
        num_resamples: Number of resamples.
        seed: Seed of the draws, which depend on the sorted groups.

    Returns:
        The difference. The bounds are NaN with fewer than two groups, and all values
        are NaN without a case.

    Raises:
        ValueError: If the lengths differ, ``confidence`` is not within 0 and 1, or
            ``num_resamples`` is not positive.
    """
    values = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    groups = np.asarray(groups)
    if values.ndim != 1 or values.shape != groups.shape:
        raise ValueError(
            f'each case needs one value of both methods and a group, got shapes '
            f'{np.shape(first)}, {np.shape(second)} and {groups.shape}.'
        )
    if not 0 < confidence < 1:
        raise ValueError(f'confidence must be within 0 and 1, got {confidence}.')
    if num_resamples < 1:
        raise ValueError(f'num_resamples must be at least 1, got {num_resamples}.')
    kept = ~np.isnan(values)
    values, groups = values[kept], groups[kept]
    if not len(values):
        return PairedDifference(np.nan, np.nan, np.nan, 0, 0)
    names, place = np.unique(groups, return_inverse=True)
    mean = float(values.mean())
    if len(names) < 2:
        return PairedDifference(mean, np.nan, np.nan, len(values), len(names))
    sums, counts = np.bincount(place, values), np.bincount(place)
    draws = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=num_resamples
    )
    means = (draws @ sums) / (draws @ counts)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return PairedDifference(mean, float(low), float(high), len(values), len(names))
