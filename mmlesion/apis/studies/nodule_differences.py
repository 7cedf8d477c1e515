"""Paired differences between cross-validations of nodule classifiers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmlesion.datasets.indices.nodule_index import read_nodule_index
from mmlesion.evaluation.functional import bootstrap_folds, bootstrap_runs

#: Names of the values of a difference, in the order of ``bootstrap_folds``.
_VALUES = ('auc', 'accuracy')

#: Columns of ``differences.csv``.
NODULE_DIFFERENCE_COLUMNS = (
    'first',
    'second',
    'seeds',
    'nodules',
    'patients',
    *(f'{name}{end}' for name in _VALUES for end in ('', '_low', '_high')),
)


def nodule_differences(
    runs: Mapping[str, Sequence[Path]],
    pairs: Sequence[tuple[str, str]],
    index: str | Path,
    num_resamples: int = 2000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compute differences of AUC and accuracy with their 95 % intervals.

    AUC and accuracy are means over folds and seeds. The intervals come from a bootstrap
    over patients (the same for both) and, with several seeds, over seeds.

    Args:
        runs: For each name, work directories of :func:`mmlesion.apis.cross_validate`,
            one for each seed and in the same order of seeds for all names.
        pairs: Names to compare; the second is subtracted from the first.
        index: ``nodules.csv``, which contains the patient of each nodule.
        num_resamples: Number of resamples.
        seed: Random seed of the resamples.

    Returns:
        A row with :data:`NODULE_DIFFERENCE_COLUMNS` for each pair.

    Raises:
        ValueError: If a nodule is not in the index, or both runs of a pair have not
            tested the same nodules in the same folds.
    """
    patients = {row.nodule_id: row.patient for row in read_nodule_index(index)}
    tested = {
        name: [_tested(Path(folder), patients, index) for folder in runs[name]]
        for name in dict.fromkeys(name for pair in pairs for name in pair)
    }
    samples = {
        name: np.stack(
            [
                bootstrap_folds(
                    [case['score'] for case in cases],
                    [case['label'] for case in cases],
                    [case['fold'] for case in cases],
                    [case['patient'] for case in cases],
                    num_resamples=num_resamples,
                    seed=seed,
                )
                for cases in by_seed
            ]
        )
        for name, by_seed in tested.items()
    }
    rows = []
    for first, second in pairs:
        for one, other in zip(tested[first], tested[second], strict=True):
            if _identity(one) != _identity(other):
                raise ValueError(
                    f'{first} and {second} were not tested on the same nodules in the '
                    'same folds.'
                )
        whole = (samples[first] - samples[second])[:, 0].mean(0)
        drawn = bootstrap_runs(samples[first][:, 1:], samples[second][:, 1:], seed)
        low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
        cases = tested[first][0]
        rows.append(
            dict(
                first=first,
                second=second,
                seeds=len(tested[first]),
                nodules=len(cases),
                patients=len({case['patient'] for case in cases}),
                **{
                    f'{name}{end}': float(values[place])
                    for place, name in enumerate(_VALUES)
                    for end, values in (('', whole), ('_low', low), ('_high', high))
                },
            )
        )
    return rows


def nodule_difference_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format differences as a Markdown table.

    Args:
        rows: The result of :func:`nodule_differences`.
    """
    lines = ['| difference (95 % interval) | AUC | accuracy |', '|---|---|---|']
    for row in rows:
        cells = [
            '{:+.3f} ({:+.3f} to {:+.3f})'.format(
                *(row[f'{name}{end}'] for end in ('', '_low', '_high'))
            )
            for name in _VALUES
        ]
        lines.append(f'| {row["first"]} - {row["second"]} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def _tested(
    folder: Path, patients: Mapping[str, str], index: str | Path
) -> list[dict[str, Any]]:
    """Return the tested nodules of all folds with score, label, fold and patient."""
    cases = []
    for number, path in enumerate(sorted(folder.glob('fold*/result.json'))):
        for case in json.loads(path.read_text())['cases']:
            if case['case'] not in patients:
                raise ValueError(f'{path}: nodule {case["case"]} is not in {index}.')
            cases.append(dict(case, fold=number, patient=patients[case['case']]))
    return sorted(cases, key=lambda case: case['case'])


def _identity(cases: Sequence[Mapping[str, Any]]) -> list[tuple]:
    return [(case['case'], case['fold'], case['label']) for case in cases]
