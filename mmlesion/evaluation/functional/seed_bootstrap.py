"""Interval over patients and training runs."""

import numpy as np


def bootstrap_runs(
    first: np.ndarray, second: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """Resample the training runs of bootstrap samples over patients.

    Sample r of every run must use the same resample of patients. For each sample, S of
    the S runs are drawn with replacement, and their mean is returned. The spread of the
    result includes the sampling of patients and the randomness of the training. With
    ``second``, the result is the difference of the means, with the same draw of runs
    for both models: run k of both models must have the same seed.

    Args:
        first: Samples of the runs of one model.
        second: Samples of the runs of another model, in the same order of seeds.
        seed: Seed of the draws.

    Shape:
        - first, second: (S, R, F): S runs, R samples, F values
        - output: (R, F)

    Raises:
        ValueError: If a shape is not as described.
    """
    first = np.asarray(first, np.float64)
    if first.ndim != 3 or not len(first):
        raise ValueError(f'expected samples of shape (S, R, F), got {first.shape}.')
    if second is not None:
        second = np.asarray(second, np.float64)
        if second.shape != first.shape:
            raise ValueError(
                'both models need the same runs and samples, got shapes '
                f'{first.shape} and {second.shape}.'
            )
        first = first - second
    runs, samples = first.shape[:2]
    drawn = np.random.default_rng(seed).integers(runs, size=(samples, runs))
    return first[drawn, np.arange(samples)[:, None]].mean(1)
