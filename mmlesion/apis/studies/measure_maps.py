"""Benchmark of activation maps: methods, models, data and controls."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from tqdm import tqdm

from mmlesion.engine.model_building import build_untrained_model
from mmlesion.engine.trained_model import load_trained_model
from mmlesion.explain.benchmark import MapBenchmark, benchmark_table
from mmlesion.explain.cases import cases_of
from mmlesion.explain.comparison import (
    correlation_table,
    difference_table,
    map_correlations,
    map_differences,
)
from mmlesion.explain.measures import ALL_MEASURES
from mmlesion.explain.methods import MethodSpec
from mmlesion.files import write_csv_table, write_json, write_text

#: Columns of the printed table.
TABLE_COLUMNS = (
    'auprc',
    'prevalence',
    'auprc_label0',
    'auprc_label1',
    'auprc_pooled',
    'auroc_pooled',
    'band_auprc',
    'band_prevalence',
    'pointing',
    'rank_accuracy',
    'sparseness',
    'difference_blur',
    'difference_mean',
    'road',
    'max_sensitivity',
    'randomized',
    'other_class',
    'num_zero',
)


@dataclass
class MeasureOptions:
    """Options of :func:`measure_maps`.

    Attributes:
        methods: Methods, see :func:`mmlesion.explain.methods.find_method`.
        measures: Measures, see :func:`mmlesion.explain.measures.build_measures`.
        layers: Layers of the methods that need layers.
        target: ``'predicted'``, ``'label'`` or a class.
        score: Explained score. Defaults to the log-odds for two classes, otherwise the
            logit.
        mask_key: Key of the lesion mask in the data samples; without it, boxes are
            used.
        group_key: Key of the patient in the data samples.
        controls: Whether to evaluate maps that do not depend on the model.
        untrained: Whether to evaluate the methods on the same network with random
            weights.
        reference: Reference of the differences, ``'method'`` or ``'network/method'``.
            Defaults to the first method of the first network.
        names: Name of the network of each config. Defaults to the names of the files.
        ratings: A csv with ratings of the cases, such as ``nodules.csv``. Its first
            column is the name of the case.
        rating_columns: Columns of ``ratings`` that are correlated with each measure.
        max_images: Maximum number of cases of each model.
        batch_size: Cases in one batch.
        seed: Seed of the untrained network and of the bootstrap.
        device: Defaults to the GPU if available.
        progress: Whether to show a progress bar.
    """

    methods: Sequence[MethodSpec] = ('GradCAM', 'HiResCAM')
    measures: Sequence = ALL_MEASURES
    layers: Sequence[str] | str = ()
    target: int | str = 'predicted'
    score: str = 'auto'
    mask_key: str = 'mask'
    group_key: str = 'patient'
    controls: bool = True
    untrained: bool = True
    reference: str | None = None
    names: Sequence[str] | None = None
    ratings: str | Path | None = None
    rating_columns: Sequence[str] = ()
    max_images: int | None = None
    batch_size: int = 64
    seed: int = 0
    device: str | None = None
    progress: bool = True


def measure_maps(
    configs: Sequence[Config],
    checkpoints: Sequence[str | Path],
    out_dir: str | Path,
    options: MeasureOptions | None = None,
) -> dict[str, dict]:
    """Evaluate maps of classifiers on the test data of their configs.

    Configs with the same name are folds or seeds of one network. Their cases are
    evaluated as one set; a case that several of them have counts once in differences
    and correlations, with its mean. The files are ``maps.json`` (means by network and
    method; differences to the reference on the cases that both have, with 95 %
    intervals of a bootstrap over patients; rank correlations with the ratings),
    ``maps.md`` (tables) and, for each network, ``<network>.csv`` (every case and
    method).

    Args:
        configs: Configs of classifiers.
        checkpoints: One checkpoint per config.
        out_dir: Folder of the results.
        options: Methods, measures and targets.

    Returns:
        Means by network, method and measure.

    Raises:
        FileNotFoundError: If the ratings do not exist.
        ValueError: If the numbers of configs and checkpoints differ, a method does not
            exist or does not support a network, there are no cases, or a column of
            ratings does not exist or is not a number.
    """
    options = options or MeasureOptions()
    if not configs or len(configs) != len(checkpoints):
        raise ValueError(
            'One checkpoint for each config is needed, got '
            f'{len(configs)} configs and {len(checkpoints)} checkpoints.'
        )
    names = options.names or [Path(each.filename or 'network').stem for each in configs]
    if len(names) != len(configs):
        raise ValueError(
            f'One name for each config is needed, got {len(names)} names and '
            f'{len(configs)} configs.'
        )
    ratings = None
    if options.ratings is not None:
        ratings = _read_ratings(Path(options.ratings), options.rating_columns)
    benchmarks: dict[str, MapBenchmark] = {}
    for cfg, checkpoint, name in zip(configs, checkpoints, names):
        if name not in benchmarks:
            benchmarks[name] = MapBenchmark(
                options.methods,
                options.measures,
                options.target,
                options.score,
                options.layers,
                options.controls,
            )
        _measure_model(benchmarks[name], cfg, checkpoint, options)
    return _write(Path(out_dir), benchmarks, options, ratings)


def _measure_model(
    benchmark: MapBenchmark,
    cfg: Config,
    checkpoint: str | Path,
    options: MeasureOptions,
) -> None:
    """Add the test cases of one config."""
    model = load_trained_model(cfg, checkpoint, options.device)
    untrained: Any = None
    if options.untrained:
        # the same random weights for each fold
        untrained = build_untrained_model(cfg, options.seed)
        untrained = untrained.to(next(model.parameters()).device)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    count = min(len(dataset), options.max_images or len(dataset))
    if not count:
        raise ValueError(f'{cfg.filename}: the test data set has no case.')
    names: Counter[str] = Counter()
    for first in tqdm(
        range(0, count, options.batch_size),
        desc=f'Measuring {Path(cfg.filename or "network").stem}',
        unit='batch',
        disable=not options.progress,
    ):
        batch = [
            dataset[index]
            for index in range(first, min(count, first + options.batch_size))
        ]
        cases = cases_of(model, batch, options.mask_key, options.group_key, names)
        benchmark.update(model, cases)
        if untrained is not None:
            benchmark.update(untrained, cases, ' (untrained)')


def _read_ratings(path: Path, columns: Sequence[str]) -> dict[str, dict[str, float]]:
    """Read columns of a csv by the name of the case in its first column."""
    with open(path, newline='', encoding='utf-8') as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or ['']
        for column in columns:
            if column not in names[1:]:
                raise ValueError(
                    f'{path}: there is no column {column!r}; the columns are '
                    f'{", ".join(names[1:])}'
                )
        found = {}
        for number, row in enumerate(reader, 2):
            try:
                found[row[names[0]]] = {key: float(row[key]) for key in columns}
            except (TypeError, ValueError):
                raise ValueError(
                    f'{path}, line {number}: expected numbers in the columns '
                    f'{", ".join(columns)}'
                ) from None
        return found


def _write(
    folder: Path,
    benchmarks: dict[str, MapBenchmark],
    options: MeasureOptions,
    ratings: dict[str, dict[str, float]] | None,
) -> dict[str, dict]:
    """Write all files and return the means by network."""
    means = {name: each.compute() for name, each in benchmarks.items()}
    first = next(iter(benchmarks))
    reference = options.reference or benchmarks[first].methods[0].name
    if '/' not in reference:
        reference = f'{first}/{reference}'
    differences = map_differences(benchmarks, reference, options.seed)
    correlations = {}
    if ratings is not None:
        correlations = map_correlations(
            benchmarks, ratings, options.rating_columns, options.seed
        )
    write_json(
        folder / 'maps.json',
        dict(
            target=options.target,
            score=options.score,
            reference=reference,
            means=means,
            differences=differences,
            correlations=correlations,
        ),
        indent=1,
    )
    for name, each in benchmarks.items():
        rows = each.table_rows()
        write_csv_table(folder / f'{name}.csv', list(rows[0]), rows)
    tables = [
        f'{name}\n\n{benchmark_table(means[name], TABLE_COLUMNS)}\n' for name in means
    ]
    if differences:
        tables.append(difference_table(differences, reference))
    if any('band_gain' in each for each in correlations.values()):
        tables.append(correlation_table(correlations, options.rating_columns))
    write_text(folder / 'maps.md', '\n'.join(tables))
    return means
