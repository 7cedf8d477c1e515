"""One table of several experiments, as papers print it."""

import difflib
import json
from pathlib import Path

from mmengine.config import Config

SUMMARY = 'cross_validation.json'


def results_table(folders, columns=None) -> str:
    """The numbers of several experiments, a row for each.

    Of a cross-validation each number is the mean over the folds, with its standard
    deviation; of any other experiment that of its last test.

    Args:
        folders (sequence[str | Path]): Work directories of
            :func:`mmlesion.apis.cross_validate`, or in which ``tools/test.py`` has
            tested; a row is named by its folder.
        columns (dict[str, str], optional): Metric by the column's title. By
            default the ``table`` of the experiments' configs, all that the first
            names and then what others add; ``-`` stands where an experiment
            lacks the metric.

    Returns:
        str: Lines of a Markdown table, every number times 100.

    Raises:
        FileNotFoundError: A folder holds neither a finished cross-validation nor a
            test.
        ValueError: A file is damaged; no experiment has a column's metric; or
            there are no columns.
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
    widths = [max(map(len, column)) for column in zip(*cells)]
    cells.insert(1, ['-' * width for width in widths])
    return '\n'.join(
        '| ' + ' | '.join(map(str.ljust, row, widths)) + ' |' for row in cells
    )


def _read(folder):
    """What ``cross_validate`` wrote, or else the last test."""
    path = folder / SUMMARY
    if not path.is_file():
        return _read_test(folder)
    try:
        summary = json.loads(path.read_text())
        summary['metrics'], summary['num_folds']
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f'{path}: damaged; expected what tools/cross_validate.py writes.'
        ) from None
    return summary


def _read_test(folder):
    """The numbers of the last test, which MMEngine names by its time."""
    tests = [
        path
        for path in sorted(folder.glob('*/*.json'))
        if path.stem == path.parent.name
    ]
    configs = sorted(folder.glob('*.py'), key=lambda path: path.stat().st_mtime)
    if not tests or not configs:
        raise FileNotFoundError(
            f'{folder / SUMMARY}: no such file; expected a folder '
            'in which tools/cross_validate.py has finished or '
            'tools/test.py has tested.'
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


def _cell(metric):
    if metric is None or metric['mean'] is None:
        return '-'
    if metric['std'] is None:
        return f'{100 * metric["mean"]:.2f}'
    return f'{100 * metric["mean"]:.2f} ± {100 * metric["std"]:.2f}'
