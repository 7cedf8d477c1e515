"""Bootstrap samples of the AUC and accuracy of a cross-validation."""

from collections.abc import Sequence

import numpy as np


def bootstrap_folds(
    scores: Sequence[float] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    folds: Sequence[int] | np.ndarray,
    groups: Sequence | np.ndarray,
    threshold: float = 0.5,
    num_resamples: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """Resample the patients of a cross-validation.

    Each resample draws as many groups (patients) as there are, with replacement, and
    takes all their cases. AUC and accuracy are computed in each fold and averaged over
    the folds, because the scores of different folds come from different networks.
    Calls with the same groups, ``num_resamples`` and ``seed`` draw the same groups, so
    that samples of several methods can be subtracted.

    Args:
        scores: Score of each case.
        labels: 1 for positive cases, 0 for negative cases.
        folds: Fold in which the case was tested.
        groups: Group (patient) of each case.
        threshold: A case is classified as positive if its score exceeds this value.
        num_resamples: Number of resamples.
        seed: Seed of the draws, which depend on the sorted groups.

    Shape:
        - scores, labels, folds, groups: (N,)
        - output: (num_resamples + 1, 2), AUC and accuracy. Row 0 is the result
          without resampling. A fold in which a class is missing does not count for the
          AUC.

    Raises:
        ValueError: If the lengths differ or there are no cases.
    """
    columns = [np.asarray(each) for each in (scores, labels, folds, groups)]
    if len({each.shape for each in columns}) > 1 or not columns[0].size:
        raise ValueError(
            'each case needs a score, a label, a fold and a group, got shapes '
            f'{", ".join(str(each.shape) for each in columns)}.'
        )
    score, label, fold, group = columns
    names, place = np.unique(group, return_inverse=True)
    draws = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=num_resamples
    )
    draws = np.concatenate([np.ones((1, len(names)), draws.dtype), draws])
    weights = draws[:, place].astype(np.float64)  # (R, N)
    right = (score > threshold) == (label == 1)
    by_fold = []
    for number in np.unique(fold):
        here = fold == number
        by_fold.append(
            np.stack(
                [
                    _weighted_auc(score[here], label[here], weights[:, here]),
                    _ratio(weights[:, here] @ right[here], weights[:, here].sum(1)),
                ],
                1,
            )
        )
    values = np.stack(by_fold)  # (folds, R, 2)
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(0), known.sum(0))


def _weighted_auc(
    score: np.ndarray, label: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the AUC for each row of weights; equal scores count one half."""
    positive, negative = score[label == 1], score[label != 1]
    order = (np.sign(positive[:, None] - negative) + 1) / 2  # (P, N)
    of_positive, of_negative = weights[:, label == 1], weights[:, label != 1]
    ordered = ((of_positive @ order) * of_negative).sum(1)
    return _ratio(ordered, of_positive.sum(1) * of_negative.sum(1))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN where the denominator is 0."""
    empty = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=empty, where=denominator > 0)
