"""Comparison of maps: paired differences and correlations with ratings."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmlesion.evaluation.functional import paired_bootstrap, rank_correlation
from mmlesion.files import markdown_table

from .benchmark import MapBenchmark

#: Columns of the printed table of differences.
DIFFERENCE_COLUMNS = (
    'auprc',
    'band_auprc',
    'pointing',
    'difference_blur',
    'difference_mean',
    'road',
)


def map_differences(
    benchmarks: Mapping[str, MapBenchmark], reference: str, seed: int = 0
) -> dict[str, dict[str, dict]]:
    """Compute differences of all maps to a reference, with intervals over patients.

    Args:
        benchmarks: Benchmarks by network.
        reference: ``'network/method'``.
        seed: Random seed of the bootstrap.

    Returns:
        By ``'network/method'`` and measure, the fields of
        :class:`~mmlesion.evaluation.functional.PairedDifference`, of the cases that
        both have.

    Raises:
        ValueError: If the reference was not measured, or cases of different patients
            have the same name.
    """
    cases = {
        f'{network}/{method}': rows
        for network, benchmark in benchmarks.items()
        for method, rows in benchmark.cases().items()
    }
    if reference not in cases:
        raise ValueError(
            f'there is no {reference!r} to compare with; measured were '
            f'{", ".join(cases)}'
        )
    base = cases[reference]
    measures = list(
        dict.fromkeys(
            name for each in benchmarks.values() for name in each.measure_names()
        )
    )
    found: dict[str, dict[str, dict]] = {}
    for name, rows in cases.items():
        shared = [case for case in rows if case in base]
        if name == reference or not shared:
            continue
        for case in shared:
            if rows[case]['group'] != base[case]['group']:
                raise ValueError(
                    f'{case} is the name of cases of two patients, '
                    f'{base[case]["group"]} in {reference} and {rows[case]["group"]} '
                    f'in {name}; expected different names'
                )
        found[name] = {
            measure: paired_bootstrap(
                [rows[case].get(measure, np.nan) for case in shared],
                [base[case].get(measure, np.nan) for case in shared],
                [base[case]['group'] for case in shared],
                seed=seed,
            )._asdict()
            for measure in measures
        }
    return found


def map_correlations(
    benchmarks: Mapping[str, MapBenchmark],
    ratings: dict[str, dict[str, float]],
    columns: Sequence[str],
    seed: int = 0,
) -> dict[str, dict[str, dict[str, dict]]]:
    """Compute rank correlations of all measures with ratings of the cases.

    Args:
        benchmarks: Benchmarks by network.
        ratings: Values by case and column. Cases without ratings are omitted.
        columns: The columns.
        seed: Random seed of the bootstrap over patients.

    Returns:
        By ``'network/method'``, measure and column, the fields of
        :class:`~mmlesion.evaluation.functional.RankCorrelation`.

    Raises:
        ValueError: If no case has ratings, or cases of different patients have the
            same name.
    """
    found: dict[str, dict[str, dict[str, dict]]] = {}
    for network, benchmark in benchmarks.items():
        for method, cases in benchmark.cases().items():
            rated = [case for case in cases if case in ratings]
            if not rated:
                raise ValueError(
                    f'{network}: no case has ratings; the first case is '
                    f'{next(iter(cases))}, the first rating is for '
                    f'{next(iter(ratings), "no case")}'
                )
            found[f'{network}/{method}'] = {
                measure: {
                    column: rank_correlation(
                        [cases[case][measure] for case in rated],
                        [ratings[case][column] for case in rated],
                        [cases[case]['group'] for case in rated],
                        seed=seed,
                    )._asdict()
                    for column in columns
                }
                for measure in benchmark.measure_names()
            }
    return found


def difference_table(differences: dict[str, dict[str, dict]], reference: str) -> str:
    """Format a Markdown table of differences with their intervals.

    Args:
        differences: Differences of :func:`map_differences`.
        reference: The reference.
    """
    measured = {name for each in differences.values() for name in each}
    columns = [name for name in DIFFERENCE_COLUMNS if name in measured]
    rows = [[f'minus {reference} (95 % interval)', *columns]]
    for name, measures in differences.items():
        found = [measures[column] for column in columns]
        rows.append(
            [
                name,
                *(
                    f'{e["difference"]:.3f} ({e["low"]:.3f} to {e["high"]:.3f})'
                    for e in found
                ),
            ]
        )
    return f'{markdown_table(rows)}\n'


def correlation_table(correlations: dict, columns: Sequence[str]) -> str:
    """Format a Markdown table of the correlations of ``band_gain`` with the ratings.

    Args:
        correlations: Correlations of :func:`map_correlations`.
        columns: Columns of the ratings.
    """
    rows = [['rank correlation of band_gain with', *columns]]
    for name, measures in correlations.items():
        found = [measures['band_gain'][column] for column in columns]
        rows.append(
            [
                name,
                *(f'{e["rho"]:.2f} ({e["low"]:.2f} to {e["high"]:.2f})' for e in found),
            ]
        )
    return f'{markdown_table(rows)}\n'
