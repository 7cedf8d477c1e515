"""Training of detectors with several seeds, and comparison by FROC."""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmlesion.datasets.indices.annotation_file import read_annotations
from mmlesion.engine.lesion_runner import LesionRunner
from mmlesion.engine.work_dir import lock_work_dir
from mmlesion.evaluation.functional import (
    FROCMatches,
    bootstrap_froc,
    bootstrap_runs,
    percentile_interval,
)
from mmlesion.files import atomic_file, write_csv_table, write_json, write_text
from mmlesion.registry import type_name

from .training_budget import set_epochs, stored_epochs

#: Names of the result files.
RESULT_FILE = 'result.json'
MATCHES_FILE = 'matches.npz'
TABLE_FILE = 'table.md'
_ARRAYS = ('box_image', 'box_score', 'lesion_image', 'hit_box', 'hit_lesion')
_SPLITS = ('train', 'val', 'test')


@dataclass
class ComparisonOptions:
    """Settings of :func:`compare_detectors`.

    Attributes:
        seeds: Seeds of the initial weights and of the training, one run each.
        reference: Name of the config that is the reference of all differences. Defaults
            to the first config.
        data_root: Data set that replaces that of the configs.
        test_root: Data set whose split is compared instead of that of ``data_root``,
            e.g. a larger set for narrower intervals. Finished runs are tested again
            and not trained again.
        epochs: Number of epochs that replaces that of the configs.
        cpu_minutes: CPU time of one training. The number of epochs is derived from the
            measured time of a training step; validation and test are not part of the
            budget.
        images: Number of training images; None for all.
        width: Channels of the first layer of the backbone (VGG or ResNet).
        fps: False positives per image at which the sensitivity is reported.
        num_resamples: Bootstrap resamples over patients and seeds.
        split: Split that is compared: ``'test'``, or ``'val'`` to choose a recipe.
    """

    seeds: Sequence[int] = (0, 1, 2)
    reference: str | None = None
    data_root: str | None = None
    test_root: str | None = None
    epochs: int | None = None
    cpu_minutes: float | None = None
    images: int | None = None
    width: int | None = None
    fps: Sequence[float] = (0.5, 1, 2, 4, 8, 16)
    num_resamples: int = 2000
    split: str = 'test'


def compare_detectors(
    configs: Sequence[Config], out_dir: str | Path, options: ComparisonOptions
) -> dict[str, Any]:
    """Train each config with each seed, test it, and compare the models by FROC.

    Each run has a folder ``<out_dir>/<config>/seed<k>``. A run that is finished is
    read; an unfinished run resumes from its last checkpoint. The checkpoint with the
    best validation metric is tested if the config keeps it. At the end, the results of
    all runs are written to ``table.csv``, ``table.json`` and ``table.md``: the mean and
    the standard deviation over seeds, and the difference of each model to the
    reference. The interval of a difference is a paired bootstrap over patients and
    seeds (:func:`mmlesion.evaluation.functional.bootstrap_runs`).

    Args:
        configs: Detection configs with a ``FROCMetric``.
        out_dir: Folder of the study.
        options: Settings.

    Returns:
        The content of ``table.json``.

    Raises:
        FileNotFoundError: If ``test_root`` contains no data set.
        ValueError: If two configs have the same name, the reference is not among them,
            an option does not fit a config, a folder contains a run with other
            settings or annotations, or the models were tested on different images.
    """
    named = {Path(cfg.filename or '').stem: cfg for cfg in configs}
    if len(named) != len(configs) or not named:
        raise ValueError('configs of different names are needed, at least one.')
    reference = options.reference or next(iter(named))
    if reference not in named:
        raise ValueError(
            f'the reference {reference} is not among the configs {", ".join(named)}.'
        )
    if not options.seeds or options.split not in ('val', 'test'):
        raise ValueError(
            "at least one seed and split 'val' or 'test' are needed, got "
            f'{list(options.seeds)} and {options.split!r}.'
        )
    runs: dict[str, list[_Run]] = {name: [] for name in named}
    # Seed by seed, so that an interrupted study still compares all models.
    for seed in options.seeds:
        for name, cfg in named.items():
            folder = Path(out_dir) / name / f'seed{seed}'
            prepared = _prepared(cfg, folder, seed, options)
            run = _run(prepared, folder)
            if options.test_root is not None:
                run = _test_on(prepared, folder, run, options.test_root)
            runs[name].append(run)
    table = _compare(runs, reference, options)
    _write_tables(Path(out_dir), table)
    return table


@dataclass
class _Run:
    """Result of one training."""

    values: dict[str, Any]
    matches: FROCMatches
    patients: np.ndarray


def _prepared(
    cfg: Config, folder: Path, seed: int, options: ComparisonOptions
) -> Config:
    """Return the config of one run."""
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    cfg = Config(cfg.to_dict(), filename=cfg.filename)
    cfg.work_dir = str(folder)
    cfg.experiment_name = f'{Path(cfg.filename or "").stem}_seed{seed}'
    cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    for split in _SPLITS:
        loader = cfg[f'{split}_dataloader']
        # Load data in the training process, whose CPU time is measured.
        loader.update(num_workers=0, persistent_workers=False, pin_memory=False)
        if options.data_root is not None:
            loader.dataset.data_root = options.data_root
    if options.images is not None:
        cfg.train_dataloader.dataset.indices = options.images
    if options.width is not None:
        _set_width(cfg, options.width)
    if options.split == 'val':
        cfg.test_dataloader = cfg.val_dataloader
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        if isinstance(evaluator, list) or type_name(evaluator) != 'FROCMetric':
            raise ValueError(f'{cfg.filename}: the only metric must be FROCMetric.')
        evaluator.num_resamples = 0
    if options.epochs is not None:
        set_epochs(cfg, options.epochs)
    elif options.cpu_minutes is not None:
        set_epochs(cfg, stored_epochs(cfg, options.cpu_minutes, folder.parent))
    return cfg


def _set_width(cfg: Config, width: int) -> None:
    """Set the number of channels of a VGG or ResNet and of the later layers."""
    model = cfg.model
    inner = model.backbone.get('backbone', model.backbone)
    if type_name(inner) == 'VGGStride8':
        inner.width = width
        roi_head = model.roi_head
        parts = [model.get('neck'), model.rpn_head, roi_head]
        if 'bbox_roi_extractor' in roi_head:
            roi_head.bbox_roi_extractor.out_channels = 8 * width
            parts[2] = roi_head.bbox_head
        for part in parts:
            if part:
                part.in_channels = 8 * width
    elif type_name(inner) == 'ResNet':
        neck = model.backbone.get('neck') or model.neck.neck
        inner.base_channels = width
        expansion = 4 if inner.depth >= 50 else 1
        channels = [expansion * width * 2**stage for stage in range(4)]
        neck.in_channels = channels[-len(neck.in_channels) :]
    else:
        raise ValueError(
            f'{cfg.filename}: a width is only known for VGGStride8 and ResNet, but the '
            f'backbone is {inner.type}.'
        )


def _run(cfg: Config, folder: Path) -> _Run:
    """Train and test, unless the result exists."""
    fingerprint = _fingerprint(cfg)
    started = folder / 'fingerprint.txt'
    if started.is_file() and started.read_text() != fingerprint:
        raise ValueError(
            f'{folder} contains a run with different settings or annotations; choose '
            'another folder for the study, or remove it.'
        )
    if not (folder / RESULT_FILE).is_file():
        print_log(f'Training {folder}', 'current')
        with lock_work_dir(folder):
            write_text(started, fingerprint)
            cfg.resume = any(folder.glob('epoch_*.pth'))
            if cfg.resume:
                cfg.load_from = None  # MMEngine would resume from this file
            _train_and_test(cfg, folder)
    return _read(folder)


def _train_and_test(cfg: Config, folder: Path) -> None:
    resumed = any(folder.glob('epoch_*.pth'))
    before, wall = _cpu_seconds(), time.monotonic()
    runner = LesionRunner.from_cfg(cfg)
    runner.train()
    # This includes the validation but not the test.
    cpu, wall = _cpu_seconds() - before, time.monotonic() - wall
    best = _best_checkpoint(folder)
    if best is not None:
        runner.load_checkpoint(str(best), strict=True)
    metrics = _test(runner, folder / MATCHES_FILE)
    for path in folder.glob('epoch_*.pth'):  # the best checkpoint is kept
        if best is not None:
            path.unlink()
    write_json(
        folder / RESULT_FILE,
        dict(
            metrics={name: float(value) for name, value in metrics.items()},
            epochs=cfg.train_cfg.max_epochs,
            parameters=sum(p.numel() for p in runner.model.parameters()),
            # Unknown if the run was interrupted.
            cpu_minutes=None if resumed else cpu / 60,
            wall_minutes=None if resumed else wall / 60,
        ),
    )


def _best_checkpoint(folder: Path) -> Path | None:
    return max(folder.glob('best_*.pth'), key=os.path.getmtime, default=None)


def _test(runner: Runner, path: Path) -> dict[str, float]:
    """Test and write the matches of boxes and lesions."""
    metrics = runner.test()
    (metric,) = runner.test_evaluator.metrics
    with atomic_file(path, 'wb') as file:
        np.savez_compressed(
            file,
            num_images=metric.matches.num_images,
            patients=metric.patients,
            **{name: getattr(metric.matches, name) for name in _ARRAYS},
        )
    return metrics


def _test_on(cfg: Config, folder: Path, run: _Run, root: str) -> _Run:
    """Test a finished run on another data set, unless its matches exist."""
    dataset = cfg.test_dataloader.dataset
    dataset.data_root = root
    key = hashlib.sha256(str(Path(root).resolve()).encode() + read_annotations(dataset))
    path = folder / f'matches_{key.hexdigest()[:12]}.npz'
    if not path.is_file():
        best = _best_checkpoint(folder)
        if best is None:
            raise ValueError(
                f'{folder}: a test on other data needs the best checkpoint, i.e. '
                'save_best in the config.'
            )
        print_log(f'Testing {best} on {root}', 'current')
        cfg.load_from, cfg.resume = str(best), False
        _test(LesionRunner.from_cfg(cfg), path)
    return _Run(run.values, *_read_matches(path))


def _read_matches(path: Path) -> tuple[FROCMatches, np.ndarray]:
    with np.load(path) as arrays:
        matches = FROCMatches(
            int(arrays['num_images']), *(arrays[name] for name in _ARRAYS)
        )
        return matches, arrays['patients']


def _read(folder: Path) -> _Run:
    values = json.loads((folder / RESULT_FILE).read_text())
    return _Run(values, *_read_matches(folder / MATCHES_FILE))


def _check_same_images(run: _Run, first: _Run, names: str) -> None:
    if not (
        np.array_equal(run.patients, first.patients)
        and np.array_equal(run.matches.lesion_image, first.matches.lesion_image)
    ):
        raise ValueError(f'{names} were tested on different images.')


def _compare(
    runs: Mapping[str, Sequence[_Run]], reference: str, options: ComparisonOptions
) -> dict[str, Any]:
    """Return the results of all models, and their differences to the reference."""
    fps = list(options.fps)
    first = runs[reference][0]
    rows, samples = {}, {}
    for name, each in runs.items():
        for run in each:
            _check_same_images(run, first, f'{name} and {reference}')
        values = np.array([run.matches.curve().sensitivity_at(fps) for run in each])
        # Use the same patient samples for every run.
        samples[name] = np.stack(
            [
                bootstrap_froc(
                    run.matches,
                    run.patients,
                    fps,
                    num_resamples=options.num_resamples,
                )
                for run in each
            ]
        )
        minutes = [run.values['cpu_minutes'] for run in each]
        known = [value for value in minutes if value is not None]
        rows[name] = dict(
            sensitivity=values.tolist(),
            mean=values.mean(0).tolist(),
            std=(values.std(0, ddof=1) if len(values) > 1 else values[0] * np.nan),
            interval=np.stack(
                percentile_interval(bootstrap_runs(samples[name])), 1
            ).tolist(),
            epochs=each[0].values['epochs'],
            parameters=each[0].values['parameters'],
            cpu_minutes=float(np.mean(known)) if known else None,
        )
        rows[name]['std'] = rows[name]['std'].tolist()
    for name, row in rows.items():
        if name != reference:
            base = np.array(rows[reference]['mean'])
            drawn = bootstrap_runs(samples[name], samples[reference])
            row['difference'] = (np.array(row['mean']) - base).tolist()
            row['difference_interval'] = np.stack(
                percentile_interval(drawn), 1
            ).tolist()
    return dict(
        reference=reference,
        seeds=list(options.seeds),
        split=options.split,
        fps=fps,
        num_images=first.matches.num_images,
        num_lesions=first.matches.num_lesions,
        num_patients=len(np.unique(first.patients)),
        num_resamples=options.num_resamples,
        models=rows,
    )


def comparison_table(table: Mapping[str, Any]) -> str:
    """Format the result of :func:`compare_detectors` as two Markdown tables.

    Args:
        table: The result.

    Returns:
        The lines.
    """
    points = [f'{fp:g} FP' for fp in table['fps']]
    lines = [
        f'Sensitivity (%) on {table["num_images"]} images of the {table["split"]} '
        f'split ({table["num_lesions"]} lesions, {table["num_patients"]} patients): '
        f'mean ± standard deviation over {len(table["seeds"])} seeds.',
        '',
        '| model | epochs | CPU min | parameters | ' + ' | '.join(points) + ' |',
        '|' + '---|' * (4 + len(points)),
    ]
    for name, row in table['models'].items():
        minutes = row['cpu_minutes']
        cells = [
            f'{100 * mean:.1f}' + ('' if np.isnan(std) else f' ± {100 * std:.1f}')
            for mean, std in zip(row['mean'], _numbers(row['std']))
        ]
        head = [
            f'`{name}`',
            str(row['epochs']),
            '-' if minutes is None else f'{minutes:.1f}',
            f'{row["parameters"]:,}',
        ]
        lines.append('| ' + ' | '.join([*head, *cells]) + ' |')
    others = {n: r for n, r in table['models'].items() if 'difference' in r}
    if others:
        lines += [
            '',
            f'Difference to `{table["reference"]}` in points, with the 95 % interval '
            f'of {table["num_resamples"]} paired resamples of patients and seeds.',
            '',
            '| model | ' + ' | '.join(points) + ' |',
            '|' + '---|' * (1 + len(points)),
        ]
    for name, row in others.items():
        cells = [
            f'{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})'
            for value, (low, high) in zip(row['difference'], row['difference_interval'])
        ]
        lines.append('| ' + ' | '.join([f'`{name}`', *cells]) + ' |')
    return '\n'.join(lines)


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float('nan') if value is None else value for value in values]


def _write_tables(folder: Path, table: dict[str, Any]) -> None:
    write_json(folder / 'table.json', table, indent=1)
    write_text(folder / TABLE_FILE, comparison_table(table) + '\n')
    names = ['model', 'seed', *(f'sens@{fp:g}' for fp in table['fps'])]
    rows = [
        dict(zip(names, [name, seed, *values]))
        for name, row in table['models'].items()
        for seed, values in zip(table['seeds'], row['sensitivity'])
    ]
    write_csv_table(folder / 'table.csv', names, rows)


def _cpu_seconds() -> float:
    """Return the CPU time of this process and its finished children."""
    return sum(os.times()[:4])


def _fingerprint(cfg: Config) -> str:
    """Return a hash of the settings and annotations of a run, without its folder."""
    settings = {k: v for k, v in cfg.to_dict().items() if k != 'work_dir'}
    text = json.dumps(settings, sort_keys=True, default=str)
    key = hashlib.sha256(text.replace(cfg.work_dir, '').encode())
    for split in _SPLITS:
        key.update(read_annotations(cfg[f'{split}_dataloader'].dataset))
    return key.hexdigest()
