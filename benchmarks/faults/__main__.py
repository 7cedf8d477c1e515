"""Run the campaign and print its table: ``python -m benchmarks.faults``."""

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from . import broken_runs, inputs


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign.

    Args:
        argv: Arguments. Defaults to those of the command line.

    Returns:
        Exit status: 1 if an input or a run was not handled well.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=2.0, help='duration')
    parser.add_argument('--seed', type=int, default=0, help='random seed')
    parser.add_argument(
        '--programs',
        type=float,
        default=0.5,
        metavar='SHARE',
        help='fraction of the time for interrupted runs of programs (default: '
        '%(default)s)',
    )
    parser.add_argument(
        '--inputs', type=int, metavar='N', help='maximum number of inputs'
    )
    parser.add_argument('--keep', type=Path, metavar='DIR', help='keep failing inputs')
    args = parser.parse_args(argv)
    seconds = 60 * args.minutes
    now = time.monotonic()
    # The interrupted programs are forked from this process. A process that has read
    # images may own threads, which a fork does not copy, so the inputs have their own.
    with ProcessPoolExecutor(1, multiprocessing.get_context('fork')) as pool:
        end = now + seconds * (1 - args.programs)
        read, failures = pool.submit(
            inputs.run_inputs, args.seed, end, args.inputs, args.keep
        ).result()
    print(table(read, inputs.OUTCOMES))
    if args.programs:
        broken, more = broken_runs.run_programs(args.seed, now + seconds)
        print(table(broken, broken_runs.OUTCOMES))
        failures += more
    for line in failures:
        print(line)
    return int(bool(failures))


def table(counts: dict[str, Counter], outcomes: Sequence[str]) -> str:
    """Return a Markdown table of outcomes, with a row of sums.

    Args:
        counts: Outcomes by format or fault.
        outcomes: Columns.

    Returns:
        The table.
    """
    total: Counter = sum(counts.values(), Counter())
    rows = [('what', 'tried', *outcomes)]
    for name, count in [*counts.items(), ('all', total)]:
        rows.append((name, str(count.total()), *(str(count[one]) for one in outcomes)))
    lines = ['| ' + ' | '.join(row) + ' |' for row in rows]
    lines.insert(1, '|' + '---|' * len(rows[0]))
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    sys.exit(main())
