"""Calibration of a binary classifier: Brier score, reliability, temperature."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from .binary_classification import binary_rates, roc_curve

# Difference of 1 and the next smaller float64
_LIMIT = 2.0**-53


def brier_score(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Mean squared difference of probability and label.

    Source: Brier, "Verification of forecasts expressed in terms of probability", 1950,
    in the form for one class, as scikit-learn's ``brier_score_loss``.

    Args:
        scores: Probability of the positive class.
        labels: 1 for positive cases, 0 for negative cases.

    Shape:
        - scores, labels: (N,)

    Returns:
        A number in [0, 1], lower is better; NaN without cases.
    """
    scores, labels = _checked(scores, labels)
    return float(np.mean((scores - labels) ** 2)) if len(scores) else float('nan')


def reliability(
    scores: npt.ArrayLike, labels: npt.ArrayLike, num_bins: int = 10
) -> dict[str, np.ndarray]:
    """Mean probability and share of positives in bins of equal width.

    Bins include their upper end, and the first bin also includes 0.

    Args:
        scores: See :func:`brier_score`.
        labels: See :func:`brier_score`.
        num_bins: Number of bins.

    Shape:
        - scores, labels: (N,)
        - each output: (num_bins,)

    Returns:
        ``count`` of cases, ``mean_score`` and ``share_positive`` (NaN in empty bins).

    Raises:
        ValueError: If a score is not within 0 and 1, or there is no bin.
    """
    if num_bins < 1:
        raise ValueError(f'reliability needs at least one bin, got {num_bins}.')
    scores, labels = _checked(scores, labels)
    edges = np.linspace(0, 1, num_bins + 1)
    place = np.searchsorted(edges[1:-1], scores)
    count = np.bincount(place, minlength=num_bins)
    with np.errstate(invalid='ignore'):
        return dict(
            count=count,
            mean_score=np.bincount(place, scores, num_bins) / count,
            share_positive=np.bincount(place, labels, num_bins) / count,
        )


def calibration_error(
    scores: npt.ArrayLike, labels: npt.ArrayLike, num_bins: int = 10
) -> float:
    r"""Expected calibration error (ECE) of the positive class.

    .. math:: \sum_b \frac{n_b}{N} |\bar p_b - \bar y_b|

    Source: Naeini et al., "Obtaining well calibrated probabilities using Bayesian
    binning", AAAI 2015. Differs from Guo et al., ICML 2017, who bin the probability of
    the predicted class.

    Args:
        scores: See :func:`brier_score`.
        labels: See :func:`brier_score`.
        num_bins: Number of bins of equal width.

    Returns:
        A number in [0, 1], lower is better; NaN without cases.
    """
    bins = reliability(scores, labels, num_bins)
    total = bins['count'].sum()
    if not total:
        return float('nan')
    gap = np.abs(bins['mean_score'] - bins['share_positive'])
    return float(np.nansum(bins['count'] / total * gap))


def fit_temperature(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Temperature that minimizes the log loss of :func:`apply_temperature`.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017. The
    temperature must be fitted on cases that are not tested.

    Args:
        scores: See :func:`brier_score`.
        labels: See :func:`brier_score`.

    Returns:
        A positive number; above 1 if the scores are too sure. It lies within 0.05 and
        20, also where the log loss has no minimum (no wrong case).

    Raises:
        ValueError: If a class has no case, or a score is not within 0 and 1.
    """
    scores, labels = _checked(scores, labels)
    if not 0 < labels.sum() < len(labels):
        raise ValueError(
            'A temperature needs cases of both classes, got '
            f'{int(labels.sum())} positive cases of {len(labels)}.'
        )
    sign, log_odds = np.where(labels, -1.0, 1.0), _log_odds(scores)
    found = minimize_scalar(
        lambda log_t: np.logaddexp(0, sign * log_odds * np.exp(-log_t)).mean(),
        bounds=(np.log(0.05), np.log(20)),
        method='bounded',
        options=dict(xatol=1e-6),
    )
    return float(np.exp(found.x))


def positive_probability(scores: npt.ArrayLike) -> float:
    """Probability of the second of two classes in double precision.

    Single precision cannot tell a probability above 1 - 3e-8 from 1, so it is computed
    from the probability of the first class. Otherwise the temperature and the order of
    such cases would be lost.

    Args:
        scores: Probability of each class.

    Shape:
        - scores: (2,)

    Returns:
        The probability. If the scores do not sum to 1, the second score.
    """
    first, second = np.asarray(scores, np.float64)
    is_complement = abs(first + second - 1) < 1e-3
    return float(1 - first if is_complement and first < second else second)


def apply_temperature(scores: npt.ArrayLike, temperature: float) -> np.ndarray:
    r"""Divide the log-odds of probabilities by a temperature.

    .. math:: p' = \sigma(\mathrm{logit}(p) / T)

    The order of the cases, their AUC and their side of 0.5 stay the same.

    Shape:
        - scores, output: (N,)
    """
    return 1 / (1 + np.exp(-_log_odds(np.asarray(scores, np.float64)) / temperature))


def operating_points(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    sensitivities: npt.ArrayLike = (0.9, 0.95),
    specificities: npt.ArrayLike = (0.9, 0.95),
) -> dict[str, dict[str, float]]:
    """Thresholds for chosen sensitivities and specificities, and their rates.

    Thresholds that are chosen on the tested cases are optimistic; choose them on
    validation cases.

    Args:
        scores: See :func:`brier_score`.
        labels: See :func:`brier_score`.
        sensitivities: For each value, the highest threshold that reaches it.
        specificities: For each value, the lowest threshold that reaches it.

    Returns:
        By name, ``'threshold'`` (cases of at least this score are called positive) and
        the numbers of :func:`binary_rates`: ``'0.5'`` (argmax), ``'youden'`` (largest
        sum of both rates), ``'sensitivity 0.9'``, ``'specificity 0.9'`` and so on.

    Raises:
        ValueError: If a class has no case.
    """
    scores, labels = _checked(scores, labels)
    if not 0 < labels.sum() < len(labels):
        raise ValueError('Operating points need cases of both classes.')
    curve = roc_curve(scores, labels)
    found, missed = curve['true_positive_rate'], 1 - curve['false_positive_rate']
    chosen = {'youden': int(np.argmax(found + missed))}
    for value in np.atleast_1d(np.asarray(sensitivities, np.float64)):
        chosen[f'sensitivity {value:g}'] = int(np.argmax(found >= value - 1e-12))
    for value in np.atleast_1d(np.asarray(specificities, np.float64)):
        reached = np.flatnonzero(missed >= value - 1e-12)
        chosen[f'specificity {value:g}'] = int(reached[-1])
    points = {'0.5': dict(threshold=0.5, **binary_rates(scores, labels))}
    for name, index in chosen.items():
        threshold = float(curve['thresholds'][index])
        just_below = np.nextafter(threshold, -np.inf)
        points[name] = dict(
            threshold=threshold, **binary_rates(scores, labels, just_below)
        )
    return points


def youden_threshold(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Threshold with the largest sum of sensitivity and specificity (Youden's index).

    Args:
        scores: See :func:`brier_score`.
        labels: See :func:`brier_score`.

    Returns:
        Cases of at least this score are called positive. NaN if a class has no case.
    """
    labels = np.asarray(labels)
    if not 0 < labels.sum() < len(labels):
        return float('nan')
    return operating_points(scores, labels)['youden']['threshold']


def _log_odds(scores: np.ndarray) -> np.ndarray:
    scores = scores.clip(_LIMIT, 1 - _LIMIT)
    return np.log(scores) - np.log1p(-scores)


def _checked(
    scores: npt.ArrayLike, labels: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    binary_rates(scores, labels)  # raises for wrong shapes, NaN and labels
    if ((scores < 0) | (scores > 1)).any():
        raise ValueError(
            'Scores must be probabilities within 0 and 1, '
            f'got {scores.min():g} to {scores.max():g}.'
        )
    return scores, labels.astype(np.float64)
