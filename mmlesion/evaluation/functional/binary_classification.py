"""Measures of binary classification: rates, ROC curve and areas under curves."""

import numpy as np
import numpy.typing as npt

from .pixel_ranking import rank_pixels


def binary_rates(
    scores: npt.ArrayLike, labels: npt.ArrayLike, threshold: float = 0.5
) -> dict:
    """Compute accuracy, sensitivity, specificity, precision and F1 at a threshold.

    A case is classified as positive if its score is *above* the threshold, as with the
    argmax of two softmax scores at 0.5.

    Args:
        scores: Score of the positive class; higher is more certain.
        labels: 1 or True for positive cases, 0 for negative cases.
        threshold: Cases with a score above this value are classified as positive.

    Returns:
        ``accuracy``, ``sensitivity`` (fraction of positives classified as positive,
        also called recall), ``specificity`` (fraction of negatives classified as
        negative), ``precision`` (fraction of positives among the cases classified as
        positive) and ``f1`` (the harmonic mean of precision and sensitivity), each in
        [0, 1], higher is better, NaN without such cases.

    Shape:
        - scores, labels: (N,)

    Raises:
        ValueError: See :func:`roc_curve`.
    """
    scores, labels = _checked(scores, labels)
    called = scores > threshold
    right = called == labels
    return dict(
        accuracy=_mean(right),
        sensitivity=_mean(right[labels]),
        specificity=_mean(right[~labels]),
        precision=_mean(labels[called]),
        # 2 TP / (2 TP + FP + FN): 0, not NaN, if no case is classified as positive
        f1=2 * _mean(called & labels) / _mean(called * 1 + labels)
        if (called | labels).any()
        else float('nan'),
    )


def f1_threshold(
    scores: npt.ArrayLike, labels: npt.ArrayLike, balanced: bool = False
) -> float:
    """Compute the threshold with the largest F1.

    The threshold is between two distinct scores. If all cases are classified as
    positive, it is 0, or below the smallest score if that is not above 0. It is valid
    only for other cases.

    Args:
        scores: See :func:`binary_rates`.
        labels: See :func:`binary_rates`.
        balanced: Whether to use the F1 that results if both labels are equally
            frequent, instead of the F1 of these cases.

    Returns:
        Cases with a score above it are classified as positive. NaN without a positive
        case, with ``balanced`` also without a negative case.

    Shape:
        - scores, labels: (N,)

    Raises:
        ValueError: See :func:`roc_curve`.
    """
    scores, labels = _checked(scores, labels)
    if not labels.any():
        return float('nan')
    steps = np.unique(scores)
    lowest = 0.0 if steps[0] > 0 else np.nextafter(steps[0], -np.inf)
    cuts = [lowest, *((steps[1:] + steps[:-1]) / 2)]
    if not balanced:
        return float(max(cuts, key=lambda cut: binary_rates(scores, labels, cut)['f1']))
    if labels.all():
        return float('nan')

    def balanced_f1(cut: float) -> float:
        rates = binary_rates(scores, labels, cut)
        found, called_negatives = rates['sensitivity'], 1 - rates['specificity']
        return 2 * found / (1 + found + called_negatives)

    return float(max(cuts, key=balanced_f1))


def roc_curve(scores: npt.ArrayLike, labels: npt.ArrayLike) -> dict:
    """Compute the vertices of the ROC curve, from (0, 0) to (1, 1).

    Cases with equal scores are added together, so a tie gives a slanted line. The order
    of the cases does not matter.

    Args:
        scores: See :func:`binary_rates`.
        labels: See :func:`binary_rates`.

    Returns:
        ``false_positive_rate``, ``true_positive_rate`` and ``thresholds``
        (cases with at least this score are classified as positive; infinity first) of
        the vertices. Rates are NaN if a class has no cases.

    Shape:
        - scores, labels: (N,)
        - each output: (U + 1,) for U distinct scores

    Raises:
        ValueError: If the lengths of scores and labels differ, a score is NaN, or a
            label is neither 0 nor 1.
    """
    scores, labels = _checked(scores, labels)
    values, place = np.unique(-scores, return_inverse=True)  # highest first
    positives = np.bincount(place[labels], minlength=len(values)).cumsum()
    negatives = np.bincount(place[~labels], minlength=len(values)).cumsum()
    num_positives, num_negatives = labels.sum(), (~labels).sum()
    nan = np.full(len(values), np.nan)
    true = positives / num_positives if num_positives else nan
    false = negatives / num_negatives if num_negatives else nan
    return dict(
        false_positive_rate=np.concatenate([[0.0], false]),
        true_positive_rate=np.concatenate([[0.0], true]),
        thresholds=np.concatenate([[np.inf], -values]),
    )


def binary_areas(scores: npt.ArrayLike, labels: npt.ArrayLike) -> dict:
    """Compute the areas under the ROC curve and the precision-recall curve.

    Args:
        scores: See :func:`binary_rates`.
        labels: See :func:`binary_rates`.

    Returns:
        ``auc``, the probability that a positive case has a higher score than a negative
        case, where ties count one half (random guessing: 0.5); and ``auprc``,
        ``sum_n (R_n - R_{n-1}) P_n`` over the distinct scores in descending order,
        without interpolation (random guessing: the fraction of positives). Both are in
        [0, 1], higher is better, and NaN without the cases that they need.

    Shape:
        - scores, labels: (N,)

    Raises:
        ValueError: See :func:`roc_curve`.
    """
    ranking = rank_pixels(*_checked(scores, labels))
    return dict(auc=float(ranking.auroc), auprc=float(ranking.auprc))


def log_loss(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Compute the mean cross-entropy of the scores, in nats; lower is better.

    Scores are clipped to [1e-7, 1 - 1e-7] so that the loss is finite. NaN without
    cases.

    Args:
        scores: Probability of the positive class.
        labels: See :func:`binary_rates`.

    Returns:
        Cross-entropy in nats.

    Shape:
        - scores, labels: (N,)

    Raises:
        ValueError: See :func:`roc_curve`; also if a score is not within 0 and 1.
    """
    scores, labels = _checked(scores, labels)
    if ((scores < 0) | (scores > 1)).any():
        raise ValueError(
            'log_loss: scores must be probabilities within 0 and 1, '
            f'got {scores.min():g} to {scores.max():g}.'
        )
    scores = scores.clip(1e-7, 1 - 1e-7)
    return _mean(-np.log(np.where(labels, scores, 1 - scores)))


def _checked(
    scores: npt.ArrayLike, labels: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    scores = np.asarray(scores, dtype=np.float64)
    labels = np.asarray(labels)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(
            'One score and one label for each case are needed, got '
            f'shapes {scores.shape} and {labels.shape}.'
        )
    if np.isnan(scores).any():
        raise ValueError(
            f'{int(np.isnan(scores).sum())} of {len(scores)} scores '
            'are NaN, the first that of case '
            f'{int(np.isnan(scores).argmax())}.'
        )
    wrong = ~np.isin(labels, (0, 1))
    if wrong.any():
        raise ValueError(
            'Labels must be 0 (negative) or 1 (positive), got '
            f'{labels[wrong][0]} for case {int(wrong.argmax())}.'
        )
    return scores, labels.astype(bool)


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float('nan')
