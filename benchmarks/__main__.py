"""Run the benchmarks and print one table: ``python -m benchmarks [names]``."""

import argparse
import contextlib
import importlib
import json
import operator
import pkgutil
import sys
from pathlib import Path

COLUMNS = ('what', 'ours', 'peer', 'unit', 'ratio', 'target', 'met', 'against')
COMPARISONS = {'>=': operator.ge, '<=': operator.le, '>': operator.gt, '<': operator.lt}


def available():
    """Return the names of the modules of this folder that contain a benchmark."""
    folder = str(Path(__file__).parent)
    return sorted(
        module.name
        for module in pkgutil.iter_modules([folder])
        if not module.name.startswith('_') and not module.ispkg
    )


def met(row):
    """Return whether a row reaches its target; None if it has no target.

    Raises:
        ValueError: If the target is neither a number nor a comparison.
    """
    target = row.get('target')
    if target is None:
        return None
    if isinstance(target, (int, float)):
        return None if row.get('ratio') is None else row['ratio'] >= target
    for sign, compare in COMPARISONS.items():
        if str(target).startswith(sign):
            try:
                return compare(row['ours'], float(target[len(sign) :].split()[0]))
            except (IndexError, ValueError):
                break
    raise ValueError(
        f'target of "{row["what"]}" is {target!r}; expected a number (minimum '
        'ratio) or a comparison with ours such as ">= 10"'
    )


def collect(names, package='benchmarks'):
    """Run benchmarks by name.

    A benchmark that cannot run (missing package, GPU or data) becomes a row
    with the reason, and the others still run.

    Returns:
        list[dict]: Rows as described in ``benchmarks/__init__.py``, each with
        ``benchmark`` and ``met`` added.
    """
    rows = []
    for name in names:
        print(f'{name} ...', file=sys.stderr, flush=True)
        try:
            found = importlib.import_module(f'{package}.{name}').run()
        except (ImportError, FileNotFoundError, RuntimeError) as error:
            rows.append(
                dict(
                    benchmark=name,
                    what=name,
                    met=None,
                    skipped=True,
                    note=f'skipped: {type(error).__name__}: {error}',
                )
            )
            continue
        rows += [dict(row, benchmark=name, met=met(row)) for row in found]
    return rows


def table(rows):
    """Return the rows as aligned text with notes below."""

    def number(value, form='.4g'):
        return '-' if value is None else format(value, form)

    lines, notes = [COLUMNS], []
    for row in rows:
        mark = ''
        if row.get('note'):
            notes.append(f'[{len(notes) + 1}] {row["note"]}')
            mark = f' [{len(notes)}]'
        target = row.get('target')
        if isinstance(target, (int, float)):
            target = f'{target:g}x'
        ratio = row.get('ratio')
        lines.append(
            (
                row['what'] + mark,
                number(row.get('ours')),
                number(row.get('peer')),
                row.get('unit', '-'),
                '-' if ratio is None else f'{ratio:.3g}x',
                target or '-',
                {True: 'yes', False: 'NO', None: '-'}[row['met']],
                row.get('peer_name') or '-',
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    text = [
        '  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
        for line in lines
    ]
    text.insert(1, '  '.join('-' * width for width in widths))
    return '\n'.join(text + notes)


def main(argv=None):
    """Print the table (or JSON); exit code 1 if nothing could run."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks', description=__doc__)
    parser.add_argument('names', nargs='*', help=f'of {", ".join(available())}')
    parser.add_argument('--json', action='store_true', help='rows as JSON')
    args = parser.parse_args(argv)
    unknown = sorted(set(args.names) - set(available()))
    if unknown:
        parser.error(
            f'no benchmark named {", ".join(unknown)}; there are '
            f'{", ".join(available())}'
        )
    # Output of libraries during import is not part of the table.
    with contextlib.redirect_stdout(sys.stderr):
        rows = collect(args.names or available())
    print(json.dumps(rows, indent=2) if args.json else table(rows))
    return int(all(row.get('skipped') for row in rows))


if __name__ == '__main__':
    sys.exit(main())
