"""Cross-validation folds of whole patients."""

from collections.abc import Hashable, Sequence

import numpy as np


def patient_folds(
    patients: Sequence[Hashable] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    num_folds: int = 5,
    seed: int = 0,
) -> np.ndarray:
    r"""Divide samples into folds of whole patients with balanced classes.

    Patients are shuffled and then assigned in the order of decreasing number of
    samples. A patient is assigned to the fold with the smallest

    .. math::
        \sum_c \left(\frac{n_{fc}}{N_c}\right)^2,

    where :math:`n_{fc}` is the number of samples of class c in fold f and :math:`N_c`
    is the number in all folds. This is the fold in which the classes of the patient are
    rarest. The result does not depend on the order of the samples of a patient.

    Args:
        patients: Patient of each sample.
        labels: Class of each sample.
        num_folds: Number of folds, at least 2.
        seed: Random seed of the shuffling.

    Returns:
        The fold of each sample, 0 to ``num_folds - 1``.

    Raises:
        ValueError: If there are fewer patients than folds, or a fold has no sample of
            one of the classes.
    """
    patients, labels = list(patients), np.asarray(labels)
    if len(patients) != len(labels):
        raise ValueError(
            f'there are {len(patients)} patients for '
            f'{len(labels)} labels; expected one patient per label'
        )
    if num_folds < 2:
        raise ValueError(f'num_folds must be at least 2, but is {num_folds}')
    classes, coded = np.unique(labels, return_inverse=True)
    order = sorted(set(patients), key=str)
    if len(order) < num_folds:
        raise ValueError(
            f'{num_folds} folds need at least as many patients, '
            f'but there are {len(order)}'
        )
    row = {patient: number for number, patient in enumerate(order)}
    owner = np.array([row[patient] for patient in patients])
    counts = np.zeros((len(order), len(classes)))
    np.add.at(counts, (owner, coded), 1)
    shares = counts / counts.sum(0)
    shuffled = np.random.default_rng(seed).permutation(len(order))
    by_size = shuffled[np.argsort(-counts[shuffled].sum(1), kind='stable')]
    filled = np.zeros((num_folds, len(classes)))
    fold_of = np.empty(len(order), int)
    for patient in by_size:
        grown = (np.square(filled + shares[patient]) - np.square(filled)).sum(1)
        # Among equal folds, the smallest is chosen, so that no fold remains empty.
        fold = min(
            range(num_folds),
            key=lambda one: (round(grown[one], 12), round(filled[one].sum(), 12)),
        )
        filled[fold] += shares[patient]
        fold_of[patient] = fold
    for fold, class_index in np.argwhere(filled == 0):
        raise ValueError(
            f'fold {fold} of {num_folds} has no sample of class '
            f'{classes[class_index]}; use fewer folds or more patients'
        )
    return fold_of[owner]
