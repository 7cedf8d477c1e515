"""How well readers predict each other's ratings: the ceiling of a classifier."""

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
    """One reader's rating against the mean of the other readers.

    Each reader of each case is compared with the mean of the others, which is positive
    above 3 and negative below; comparisons with a mean of exactly 3 are left out.

    Args:
        ratings: Ratings of each case from 1 to 5, one per reader.

    Returns:
        ``auc``; ``accuracy``, where a rating of 3 counts as half right; and ``pairs``,
        the number of comparisons.
    """
    return _agreement(ratings, 1)


def two_against_two(ratings: Iterable[Sequence[int]]) -> dict[str, float]:
    """Mean of two readers against the mean of two other readers.

    Every choice of two readers of a case with four readers is compared with the other
    two.

    Args:
        ratings: Ratings of each case from 1 to 5. Cases without exactly four readers
            are left out.

    Returns:
        See :func:`one_against_rest`.
    """
    return _agreement((each for each in ratings if len(each) == 4), 2)


def certainty_of(means: npt.ArrayLike) -> np.ndarray:
    """Bin of :data:`CERTAINTY_BINS` of each mean rating, -1 for exactly 3.

    A distance on the border of two bins belongs to the lower bin.

    Shape:
        - means, output: (N,)
    """
    distance = np.abs(np.asarray(means, np.float64) - UNDECIDED_RATING)
    upper = [high for _, high in CERTAINTY_BINS]
    return np.where(distance == 0, -1, np.searchsorted(upper, distance - 1e-9))


def accuracy_by_certainty(
    scores: npt.ArrayLike, means: npt.ArrayLike, threshold: float = 0.5
) -> list[tuple[int, float]]:
    """Number of cases and accuracy of a classifier by the certainty of the readers.

    Args:
        scores: Score of the positive class.
        means: Mean rating of each case, whose side of 3 is the label.
        threshold: Cases with a score above this value are called positive.

    Shape:
        - scores, means: (N,)

    Returns:
        One pair for each of :data:`CERTAINTY_BINS`; the accuracy of no cases is NaN.
    """
    means = np.asarray(means, np.float64)
    right = (np.asarray(scores) > threshold) == (means > UNDECIDED_RATING)
    return _by_certainty(right, means)


def reader_accuracy_by_certainty(
    ratings: Iterable[Sequence[int]],
) -> list[tuple[int, float]]:
    """Accuracy of one reader by the certainty of the mean of the other readers.

    Args:
        ratings: See :func:`one_against_rest`.

    Returns:
        See :func:`accuracy_by_certainty`; numbers are those of comparisons.
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
    """Means of ``count`` readers, and of the other readers of the same case."""
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
