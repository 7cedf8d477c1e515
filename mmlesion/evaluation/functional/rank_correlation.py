"""Rank correlation with an interval over groups."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from .group_bootstrap import group_bootstrap


class RankCorrelation(NamedTuple):
    """Spearman correlation with an interval.

    Attributes:
        rho: Spearman correlation of all cases.
        low: Lower bound of the interval.
        high: Upper bound of the interval.
        num_cases: Number of cases.
        num_groups: Number of groups.
    """

    rho: float
    low: float
    high: float
    num_cases: int
    num_groups: int


def rank_correlation(
    first: Sequence[float],
    second: Sequence[float],
    groups: Sequence | np.ndarray,
    confidence: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> RankCorrelation:
    """Compute the Spearman correlation of two values with a bootstrap over groups.

    Equal values get the mean of their ranks. Each resample draws as many groups as
    there are, with replacement, and takes all their cases. Cases of one patient are not
    independent, so the groups are the patients.

    Args:
        first: Values, one per case. Cases with NaN in either value are omitted.
        second: Other values of the same cases.
        groups: Group of each case.
        confidence: Confidence level of the interval.
        num_resamples: Number of resamples.
        seed: Random seed of the resamples.

    Returns:
        The correlation. It is NaN with fewer than two cases or if one of the values is
        constant. The bounds are NaN with fewer than two groups.

    Raises:
        ValueError: If the lengths differ or ``confidence`` is not within 0 and 1.
    """
    pairs = np.stack(np.broadcast_arrays(first, second)).astype(np.float64)
    groups = np.asarray(groups)
    if pairs.ndim != 2 or pairs.shape[1:] != groups.shape:
        raise ValueError(
            f'each case needs two values and a group, got shapes {np.shape(first)}, '
            f'{np.shape(second)} and {groups.shape}.'
        )
    if not 0 < confidence < 1:
        raise ValueError(f'confidence must be within 0 and 1, got {confidence}.')
    kept = ~np.isnan(pairs).any(0)
    pairs, groups = pairs[:, kept], groups[kept]
    num_groups = len(np.unique(groups))
    rho = _spearman(pairs)
    low = high = np.nan
    if not np.isnan(rho):
        low, high = group_bootstrap(
            lambda cases: _spearman(pairs[:, cases]),
            groups,
            confidence,
            num_resamples,
            seed,
        )
    return RankCorrelation(rho, float(low), float(high), pairs.shape[1], num_groups)


def _spearman(pairs: np.ndarray) -> float:
    """Return the correlation of the ranks of (2, N) values."""
    if pairs.shape[1] < 2 or (np.ptp(pairs, axis=1) == 0).any():
        return np.nan
    return float(np.corrcoef(stats.rankdata(pairs, axis=1))[0, 1])
