"""Agreement of readers' ratings, an upper bound for the accuracy of a classifier."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from .binary_classification import binary_areas

#: Rating between the two classes, on the scale from 1 to 5.
UNDECIDED_RATING = 3.0

#: Bins of the distance of a mean rating from :data:`UNDECIDED_RATING`.
CERTAINTY_BINS = ((0.0, 0.5), (0.5, 1.0), (1.0, 1.5), (1.5, 2.0))


def one_against_rest(ratings: Iterable[Sequence[int]]) -> dict[str, float]:
    """Compare the rating of each reader with the mean of the other readers.

    The label is positive if the mean of the other readers is above 3, and negative if
    it is below 3. Comparisons with a mean of exactly 3 are omitted.

    Args:
        ratings: Ratings of each case from 1 to 5, one per reader.

    Returns:
        ``auc``; ``accuracy``, where a rating of 3 is counted as half correct; and
        ``pairs``, the number of comparisons.
    """
    return _agreement(ratings, 1)


def two_against_two(ratings: Iterable[Sequence[int]]) -> dict[str, float]:
    """Compare the mean of two readers with the mean of the other two, for all pairs.

    Args:
        ratings: Ratings of each case from 1 to 5. Only cases with four readers are
            used.

    Returns:
        See :func:`one_against_rest`.
    """
    return _agreement((each for each in ratings if len(each) == 4), 2)


def certainty_of(means: npt.ArrayLike) -> np.ndarray:
    """Return the bin of :data:`CERTAINTY_BINS` of each mean rating, -1 for exactly 3.

    A distance at the border of two bins belongs to the lower bin.

    Shape:
        - means, output: (N,)
    """
    distance = np.abs(np.asarray(means, np.float64) - UNDECIDED_RATING)
    upper = [high for _, high in CERTAINTY_BINS]
    return np.where(distance == 0, -1, np.searchsorted(upper, distance - 1e-9))


def accuracy_by_certainty(
    scores: npt.ArrayLike, means: npt.ArrayLike, threshold: float = 0.5
) -> list[tuple[int, float]]:
    """Compute the accuracy of a classifier by the certainty of the readers.

    Args:
        scores: Score of the positive class.
        means: Mean rating of each case. The label is positive above 3.
        threshold: Cases with a score above this value are classified as positive.

    Shape:
        - scores, means: (N,)

    Returns:
        Number of cases and accuracy for each of :data:`CERTAINTY_BINS`. The accuracy
        of an empty bin is NaN.
    """
    means = np.asarray(means, np.float64)
    right = (np.asarray(scores) > threshold) == (means > UNDECIDED_RATING)
    return _by_certainty(right, means)


def reader_accuracy_by_certainty(
    ratings: Iterable[Sequence[int]],
) -> list[tuple[int, float]]:
    """Compute the accuracy of a reader by the certainty of the mean of the others.

    Args:
        ratings: See :func:`one_against_rest`.

    Returns:
        Number of comparisons and accuracy; see :func:`accuracy_by_certainty`.
    """
    shown, hidden = _comparisons(ratings, 1)
    return _by_certainty(_right(shown, hidden), hidden)


def _by_certainty(right: np.ndarray, means: np.ndarray) -> list[tuple[int, float]]:
    bins = certainty_of(means)
    parts = [right[bins == index] for index in range(len(CERTAINTY_BINS))]
    return [
        (len(part), float(part.mean()) if len(part) else float('nan')) for part in parts
    ]


def _agreement(ratings: Iterable[Sequence[int]], count: int) -> dict[str, float]:
    shown, hidden = _comparisons(ratings, count)
    positive = hidden > UNDECIDED_RATING
    return dict(
        auc=binary_areas(shown, positive)['auc'],
        accuracy=float(_right(shown, hidden).mean()) if len(shown) else float('nan'),
        pairs=len(shown),
    )


def _comparisons(
    ratings: Iterable[Sequence[int]], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return means of ``count`` readers, and of the other readers of the same case."""
    pairs = []
    for case in ratings:
        for chosen in combinations(range(len(case)), count):
            others = [case[i] for i in range(len(case)) if i not in chosen]
            if others and np.mean(others) != UNDECIDED_RATING:
                pairs.append((np.mean([case[i] for i in chosen]), np.mean(others)))
    found = np.array(pairs, np.float64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _right(shown: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    return np.where(
        shown == UNDECIDED_RATING,
        0.5,
        (shown > UNDECIDED_RATING) == (hidden > UNDECIDED_RATING),
    )
