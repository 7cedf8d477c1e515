"""Baseline classifiers that use only the geometry of patches, to detect label leaks."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from .binary_classification import binary_areas

#: Names of the numbers of :func:`patch_geometry`.
GEOMETRY = (
    'distinct planes',
    'planes repeated at the start',
    'planes repeated at the end',
    'constant planes',
    'border of the first plane',
    'border of the middle plane',
    'border of the last plane',
    'constant pixels',
)


def patch_geometry(image: np.ndarray, num_stacks: int = 1) -> np.ndarray:
    """Count repeated and constant planes, rows, columns and pixels of a patch.

    Beyond the border of an image, a patch repeats the outermost pixels. The numbers
    thus depend on the distance between the nodule and the border, not on the content.

    Args:
        image: Planes of one patch, as the network receives them.
        num_stacks: Number of stacks of planes at different scales, which are
            described separately.

    Shape:
        - image: (C, H, W)
        - output: (8 * num_stacks,), see :data:`GEOMETRY`
    """
    return np.concatenate([_describe(each) for each in np.split(image, num_stacks)])


def _describe(image: np.ndarray) -> np.ndarray:
    same = [np.array_equal(one, other) for one, other in zip(image, image[1:])]
    constant = [bool(np.ptp(plane) == 0) for plane in image]
    empty = np.ptp(image, axis=0) == 0 if len(image) > 1 else image[0] == image[0, 0, 0]
    return np.array(
        [
            1 + same.count(False),
            _run(same),
            _run(same[::-1]),
            sum(constant),
            *(_border(image[index]) for index in (0, len(image) // 2, -1)),
            empty.mean(),
        ],
        np.float64,
    )


def geometry_baseline(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    folds: npt.ArrayLike,
    seed: int = 0,
    num_trees: int = 100,
) -> dict[str, list[float]]:
    """Compute the AUC by fold of models whose only input is the geometry of patches.

    A logistic regression is fitted on the other folds, and also a random forest if
    scikit-learn is installed. If the AUC is above 0.5, the geometry reveals the label.

    Args:
        features: Numbers of each patch.
        labels: 1 for positive patches, 0 for negative patches.
        folds: Fold of each patch. All patches of a patient must be in the same fold.
        seed: Random seed of the forest.
        num_trees: Number of trees of the forest.

    Shape:
        - features: (N, F)
        - labels, folds: (N,)

    Returns:
        The AUC of each fold, by model.
    """
    features, folds = np.asarray(features, np.float64), np.asarray(folds)
    labels = np.asarray(labels).astype(bool)
    models = {'logistic regression': _logistic_scores}
    try:
        from sklearn.ensemble import (  # pyright: ignore[reportMissingImports]
            RandomForestClassifier,
        )
    except ImportError:
        pass
    else:

        def forest_scores(known: np.ndarray, truth: np.ndarray, asked: np.ndarray):
            forest = RandomForestClassifier(
                num_trees, min_samples_leaf=5, random_state=seed
            )
            return forest.fit(known, truth).predict_proba(asked)[:, 1]

        models['random forest'] = forest_scores
    areas: dict[str, list[float]] = {name: [] for name in models}
    for fold in np.unique(folds):
        held = folds == fold
        for name, scores in models.items():
            found = scores(features[~held], labels[~held], features[held])
            areas[name].append(binary_areas(found, labels[held])['auc'])
    return areas


def _run(same: list[bool]) -> int:
    """Return the number of leading True values."""
    return same.index(False) if False in same else len(same)


def _border(plane: np.ndarray) -> int:
    """Return the width of the widest border of repeated rows or columns."""
    return max(
        _run([np.array_equal(one, other) for one, other in zip(side, side[1:])])
        for side in (plane, plane[::-1], plane.T, plane.T[::-1])
    )


def _logistic_scores(
    known: np.ndarray, truth: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    """Return log-odds of a logistic regression on scaled features and their squares."""
    middle, spread = known.mean(0), known.std(0)
    spread[spread == 0] = 1

    def design(values: np.ndarray) -> np.ndarray:
        scaled = (values - middle) / spread
        return np.concatenate([scaled, scaled**2, np.ones((len(values), 1))], 1)

    x, sign = design(known), np.where(truth, -1.0, 1.0)
    found = minimize(
        lambda w: np.logaddexp(0, sign * (x @ w)).sum() + 0.5 * (w[:-1] @ w[:-1]),
        np.zeros(x.shape[1]),
        jac=lambda w: (
            x.T @ (sign / (1 + np.exp(-np.clip(sign * (x @ w), -500, 500))))
            + np.append(w[:-1], 0)
        ),
    )
    return design(asked) @ found.x
