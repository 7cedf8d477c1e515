"""Table of the results of several experiments."""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlesion.files import markdown_table

SUMMARY = 'cross_validation.json'


def results_table(
    folders: Sequence[str | Path], columns: Mapping[str, str] | None = None
) -> str:
    """Format the results of several experiments, one row per experiment.

    The value of a cross-validation is the mean over folds with its standard
    deviation. The value of another experiment is that of the last test.

    Args:
        folders: Work directories of :func:`mmlesion.apis.cross_validate` or of
            ``mmlesion test``. The name of the folder is the name of the row.
        columns: Metrics by the title of their column. Defaults to the ``table`` of
            the experiments' configs. ``-`` means that an experiment lacks the metric.

    Returns:
        The lines of a Markdown table; all numbers are multiplied by 100.

    Raises:
        FileNotFoundError: If a folder contains neither a finished cross-validation nor
            a test.
        ValueError: If a file is damaged, no experiment has the metric of a column,
            or there are no columns.
    """
    rows = {str(Path(folder)): _read(Path(folder)) for folder in folders}
    if columns is None:
        columns = {
            title: name
            for summary in rows.values()
            for title, name in (summary.get('table') or {}).items()
        }
    if not columns:
        raise ValueError(
            f'{", ".join(rows)}: the configs name no columns (table); choose them.'
        )
    known = sorted({name for summary in rows.values() for name in summary['metrics']})
    for name in columns.values():
        if name not in known:
            close = difflib.get_close_matches(name, known, 3, 0.4) or known
            raise ValueError(
                f'{", ".join(rows)}: no experiment has {name!r}; there '
                f'is {", ".join(close)}.'
            )
    cells = [['x 100', *columns, 'folds']]
    for folder, summary in rows.items():
        metrics = [summary['metrics'].get(name) for name in columns.values()]
        cells.append(
            [Path(folder).name, *map(_cell, metrics), str(summary['num_folds'])]
        )
    return markdown_table(cells)


def _read(folder: Path) -> dict[str, Any]:
    """Return the summary of a cross-validation, or the results of the last test."""
    path = folder / SUMMARY
    if not path.is_file():
        return _read_test(folder)
    try:
        summary = json.loads(path.read_text())
        _ = summary['num_folds']
        for metric in summary['metrics'].values():
            for value in (metric['mean'], metric['std']):
                if not (value is None or isinstance(value, (int, float))):
                    raise TypeError(value)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f'{path}: damaged; expected a file of mmlesion cross-validate.'
        ) from None
    return summary


def _read_test(folder: Path) -> dict[str, Any]:
    """Return the results of the last test; MMEngine names a test by its time."""
    tests = [
        path
        for path in sorted(folder.glob('*/*.json'))
        if path.stem == path.parent.name
    ]
    configs = sorted(folder.glob('*.py'), key=lambda path: path.stat().st_mtime)
    if not tests or not configs:
        raise FileNotFoundError(
            f'{folder / SUMMARY}: no such file; expected a folder '
            'in which mmlesion cross-validate has finished or '
            'mmlesion test has tested.'
        )
    try:
        metrics = {
            name: dict(mean=value, std=None)
            for name, value in json.loads(tests[-1].read_text()).items()
            if isinstance(value, (int, float))
        }
    except (ValueError, AttributeError):
        raise ValueError(
            f'{tests[-1]}: damaged; expected the numbers of a test.'
        ) from None
    table = Config.fromfile(configs[-1]).get('table')
    return dict(metrics=metrics, num_folds='-', table=table)


def _cell(metric: Mapping[str, float | None] | None) -> str:
    mean, std = (metric or {}).get('mean'), (metric or {}).get('std')
    if mean is None:
        return '-'
    return f'{100 * mean:.2f}' + ('' if std is None else f' ± {100 * std:.2f}')
