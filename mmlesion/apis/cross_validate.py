"""Cross-validation of a config."""

import copy
import hashlib
import inspect
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner

from mmlesion.datasets.indices.annotation_file import read_annotations
from mmlesion.datasets.indices.shared_cases import shared_cases
from mmlesion.engine.latest_checkpoint import find_newest_checkpoint
from mmlesion.engine.lesion_runner import LesionRunner
from mmlesion.engine.work_dir import lock_work_dir
from mmlesion.evaluation.functional import binary_areas, roc_curve
from mmlesion.files import plain_table, remove_partial, write_json, write_text
from mmlesion.registry import type_name
from mmlesion.visualization import draw_epoch_curves, draw_roc

FOLD_ARGUMENTS = ('fold', 'num_folds', 'seed')
SPLIT_NAMES = ('train', 'val', 'test')
# Settings that may differ between the run that wrote a fold and the run that resumes.
NOT_COMPARED = (
    'work_dir',
    'resume',
    'load_from',
    'launcher',
    'trust_checkpoint',
    'table',
)
# Settings that determine the weights.
TRAINING_SETTINGS = (
    'model',
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'randomness',
)
#: Metrics of maps in the printed table; the JSON file contains all metrics.
MAP_NUMBERS = (
    'auprc_mean',
    'prevalence_mean',
    'auprc_pooled',
    'prevalence_pooled',
    'auroc_pooled',
    'dice_mean',
)


def cross_validate(
    cfg: Config, num_folds: int = 5, seed: int = 0, test_only: bool = False
) -> dict:
    """Train and test a config on each fold of a cross-validation.

    The data sets of the config must take ``fold``, ``num_folds`` and ``seed``, and
    decide which cases belong to a fold
    (:class:`mmlesion.datasets.LIDCNoduleDataset` keeps each patient in one fold and
    the same class frequencies in all folds). The weights of the last epoch are
    tested. If the config's ``CheckpointHook`` has ``save_best``, the weights of the
    best epoch on the validation cases are tested instead; test cases never choose
    the epoch.

    Each fold has a folder, ``<work_dir>/fold0`` and so on. An interrupted call
    resumes: finished folds are read, and the unfinished fold resumes from its last
    checkpoint. Files written at the end:

    - ``cross_validation.json``: mean, sample standard deviation (division by the
      number of folds minus 1) and values by fold of each metric; metrics by epoch,
      averaged over folds; and the ROC curve of each fold if the config has a
      ``BinaryClassificationMetric``;
    - ``roc.png``: the ROC curves;
    - ``epochs.png``: accuracy and loss on the test fold by epoch (Lei et al., arXiv
      1810.12494, Fig. 4).

    Args:
        cfg: The config, with its ``work_dir``.
        num_folds: Number of folds.
        seed: Random seed for folds, initialization and training.
        test_only: Test the finished folds of ``work_dir`` again with the metrics of
            this config, and add the results. The folds must have been trained with
            the model, training settings and data of this config.

    Returns:
        The content of ``cross_validation.json``.

    Raises:
        FileNotFoundError: If a fold is not finished and ``test_only`` is set.
        ValueError: If there are fewer than two folds, a data set does not support
            folds, ``save_best`` would choose by test cases, or the folder contains
            folds of another config.
    """
    if num_folds < 2:
        raise ValueError(f'Cross-validation needs 2 folds or more, got {num_folds}.')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    with lock_work_dir(cfg.work_dir):
        return _cross_validate(cfg, num_folds, seed, test_only)


def _cross_validate(cfg: Config, num_folds: int, seed: int, test_only: bool) -> dict:
    results = []
    for fold in range(num_folds):
        fold_cfg = _fold_config(cfg, fold, num_folds, seed)
        run = _test_again if test_only else _run_fold
        results.append(run(fold_cfg, f'fold {fold + 1} of {num_folds}'))
    summary = _summarize(results)
    summary.update(
        config=cfg.filename,
        num_folds=num_folds,
        seed=seed,
        table=cfg.get('table') or {},
    )
    if is_main_process():
        folder = Path(cfg.work_dir)
        write_json(folder / 'cross_validation.json', summary)
        if summary['roc']:
            draw_roc(
                {
                    f'fold {index + 1}': curve
                    for index, curve in enumerate(summary['roc'])
                },
                folder / 'roc.png',
            )
        _draw_epochs(summary['epochs'], folder / 'epochs.png')
    return summary


def cross_validation_table(summary: dict) -> str:
    """Format mean, standard deviation and values by fold as a table.

    Metrics of maps are limited to :data:`MAP_NUMBERS`.

    Args:
        summary: The result of :func:`cross_validate`.

    Returns:
        The lines of the table.
    """
    printed = {
        name: row
        for name, row in summary['metrics'].items()
        if _is_printed(name, summary['metrics'])
    }
    lines = [
        f'{summary["num_folds"]} folds, seed {summary["seed"]}: mean, standard '
        'deviation, value by fold'
    ]
    lines += plain_table(
        [
            [name, f'{row["mean"]:.4f}', f'{row["std"]:.4f}', '|']
            + [f'{value:.4f}' for value in row['values']]
            for name, row in printed.items()
        ]
    )
    return '\n'.join(lines)


def _is_printed(name: str, names: Mapping) -> bool:
    prefix, _, number = name.rpartition('/')
    of_maps = f'{prefix}/auprc_pooled' in names
    return not of_maps or number in MAP_NUMBERS


def _fold_config(cfg: Config, fold: int, num_folds: int, seed: int) -> Config:
    """Return the config of one fold."""
    cfg = copy.deepcopy(cfg)
    cfg.work_dir = str(Path(cfg.work_dir) / f'fold{fold}')
    cfg.experiment_name = f'{Path(cfg.filename or "config").stem}_fold{fold}'
    cfg.resume = True  # from the last checkpoint in work_dir, if any
    cfg.load_from = None
    cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    for split in SPLIT_NAMES:
        loader: Any = cfg.get(f'{split}_dataloader')
        if loader is None:
            raise ValueError(
                f'{cfg.filename}: cross-validation needs {split}_dataloader.'
            )
        for dataset in _datasets(loader.dataset):
            kind = dataset.type
            if isinstance(kind, str):
                # As building would: names without prefix are the host's
                with DATASETS.switch_scope_and_registry(None) as registry:
                    kind = registry.get(kind)
            if kind is None:
                raise ValueError(
                    f'{cfg.filename}: there is no data set {dataset.type}.'
                )
            takes = inspect.signature(kind).parameters
            missing = [name for name in FOLD_ARGUMENTS if name not in takes]
            if missing:
                raise ValueError(
                    f'{cfg.filename}: the data set {kind.__name__} of '
                    f'{split}_dataloader takes no {", ".join(missing)}, which '
                    'cross-validation sets.'
                )
            dataset.update(dict(fold=fold, num_folds=num_folds, seed=seed))
    _check_save_best(cfg)
    for metric in _metrics(cfg)[:1]:  # one file of cases
        metric.outfile_prefix = str(Path(cfg.work_dir) / 'test')
    return cfg


def _check_save_best(cfg: Config) -> None:
    """Refuse to choose the epoch by cases of patients that are tested."""
    checkpoints = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if not checkpoints.get('save_best'):
        return
    parts = [cfg.val_dataloader.dataset, cfg.test_dataloader.dataset]
    sentence = (
        f'{cfg.filename}: save_best would choose the epoch by the test cases; '
        'validate on other cases, or remove save_best'
    )
    if parts[0] == parts[1]:
        raise ValueError(f'{sentence}.')
    key, both = shared_cases(*(DATASETS.build(each) for each in parts))
    if both:
        raise ValueError(f'{sentence} (both have {key} {both[0]}).')


def _datasets(cfg: Any) -> Iterator[Any]:
    """Yield the innermost data sets below wrappers such as ``RepeatDataset``."""
    if 'dataset' in cfg:
        yield from _datasets(cfg.dataset)
    elif 'datasets' in cfg:
        for each in cfg.datasets:
            yield from _datasets(each)
    else:
        yield cfg


def _metrics(cfg: Config) -> list[ConfigDict]:
    """Return the metrics that can write the score of each case."""
    evaluators = cfg.get('test_evaluator')
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    return [
        each for each in evaluators if type_name(each) == 'BinaryClassificationMetric'
    ]


def _run_fold(cfg: Config, title: str) -> dict:
    """Train and test one fold, unless its result exists."""
    folder = Path(cfg.work_dir)
    path = folder / 'result.json'
    fingerprint = _fingerprint(cfg)
    started = folder / 'fingerprint.txt'
    if started.exists() and started.read_text() != fingerprint:
        raise ValueError(
            f'{folder} belongs to another config, or to other folds, annotations or '
            'another seed; choose another --work-dir, or remove it.'
        )
    if path.exists():
        print_log(f'{title}: read from {path}', 'current')
        return json.loads(path.read_text())
    print_log(f'{title}: {folder}', 'current')
    if is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        remove_partial(folder)
        write_text(started, fingerprint)
    barrier()
    runner = LesionRunner.from_cfg(cfg)
    runner.train()
    barrier()
    best = _best_checkpoint(folder)
    if best is not None:
        runner.load_checkpoint(best, strict=True)
    result = dict(metrics=_test(runner), epochs=_epochs(folder), cases=_cases(folder))
    if is_main_process():
        write_json(path, result)
    return result


def _test_again(cfg: Config, title: str) -> dict:
    """Test the checkpoint of a finished fold and add the metrics."""
    folder = Path(cfg.work_dir)
    path = folder / 'result.json'
    if not path.exists():
        raise FileNotFoundError(
            f'{path}: no such file; only a finished fold can be tested again.'
        )
    _check_training(cfg, folder)
    print_log(f'{title}: {folder}, tested again', 'current')
    result = json.loads(path.read_text())
    cfg.resume = False
    cfg.load_from = _best_checkpoint(folder) or find_newest_checkpoint(folder)
    result['metrics'].update(_test(LesionRunner.from_cfg(cfg)))
    result['cases'] = _cases(folder)
    if is_main_process():
        write_json(path, result)
        (folder / 'fingerprint.txt').write_text(_fingerprint(cfg))
    return result


def _best_checkpoint(folder: Path) -> str | None:
    """Return the checkpoint that ``save_best`` kept, if any."""
    kept = max(folder.glob('best_*.pth'), key=os.path.getmtime, default=None)
    return None if kept is None else str(kept)


def _check_training(cfg: Config, folder: Path) -> None:
    """Compare with the config that MMEngine wrote next to the weights of the fold."""
    path = max(folder.glob('*.py'), key=os.path.getmtime, default=None)
    if path is None:
        raise FileNotFoundError(
            f'{folder}: the config that its weights were trained by (.py) is not there.'
        )
    trained = _training_settings(Config.fromfile(path))
    for key, value in _training_settings(cfg).items():
        if value != trained[key]:
            raise ValueError(
                f'{folder} belongs to another config, or to other folds or another '
                f'seed: {key} differs from that of {path}.'
            )


def _training_settings(cfg: Config) -> dict[str, str]:
    """Return settings that determine the weights and held-out cases, as JSON."""
    parts = {key: cfg.get(key) for key in TRAINING_SETTINGS}
    parts['test_dataloader.dataset'] = cfg.test_dataloader.dataset
    return {
        key: json.dumps(value, sort_keys=True, default=str)
        for key, value in parts.items()
    }


def _test(runner: Runner) -> dict[str, float]:
    return {name: float(value) for name, value in runner.test().items()}


def _cases(folder: Path) -> list[dict]:
    """Return score and label of each case, if a metric wrote them."""
    scores = folder / 'test.scores.json'
    return json.loads(scores.read_text()) if scores.exists() else []


def _fingerprint(cfg: Config) -> str:
    """Return a hash of the settings that the folds share, and of the annotations."""
    kept = {
        key: value for key, value in cfg.to_dict().items() if key not in NOT_COMPARED
    }
    # The folder may have been moved.
    text = json.dumps(kept, sort_keys=True, default=str).replace(cfg.work_dir, '')
    key = hashlib.sha256(text.encode())
    for split in SPLIT_NAMES:
        for dataset in _datasets(cfg[f'{split}_dataloader'].dataset):
            key.update(read_annotations(dataset))
    return key.hexdigest()


def _epochs(folder: Path) -> list[dict]:
    """Return metrics after each epoch, from the logs of all runs of this fold."""
    epochs = {}
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # incomplete line of a run that was killed
            if 'lr' in row or 'step' not in row:
                continue  # a training step, or the final test
            step = row.pop('step')
            epochs[step] = {
                name: value
                for name, value in row.items()
                if '/' in name and isinstance(value, (int, float))
            }
    epochs = {step: row for step, row in epochs.items() if step and row}
    return [dict(epoch=step, **epochs[step]) for step in sorted(epochs)]


def _summarize(results: Sequence[dict]) -> dict:
    """Compute statistics of each metric, ROC curves and metrics by epoch."""
    names = [
        name
        for name in results[0]['metrics']
        if all(name in result['metrics'] for result in results)
    ]
    metrics = {}
    for name in names:
        values = [_number(result['metrics'][name]) for result in results]
        metrics[name] = dict(
            mean=float(np.mean(values)),
            std=float(np.std(values, ddof=1)),
            values=values,
        )
    roc = []
    for result in results:
        scores = [case['score'] for case in result['cases']]
        labels = [case['label'] for case in result['cases']]
        if 0 < sum(labels) < len(labels):
            curve = roc_curve(scores, labels)
            roc.append(
                dict(
                    false_positive_rate=curve['false_positive_rate'].tolist(),
                    true_positive_rate=curve['true_positive_rate'].tolist(),
                    auc=binary_areas(scores, labels)['auc'],
                )
            )
    return dict(metrics=metrics, roc=roc, epochs=_mean_epochs(results))


def _mean_epochs(results: Sequence[dict]) -> list[dict]:
    """Average each metric over folds after each epoch that all folds have."""
    by_fold = [{row['epoch']: row for row in result['epochs']} for result in results]
    rows = []
    for epoch in sorted(set.intersection(*map(set, by_fold))):
        here = [rows_of[epoch] for rows_of in by_fold]
        rows.append(
            {
                name: float(np.mean([_number(row[name]) for row in here]))
                for name in here[0]
                if all(name in row for row in here)
            }
        )
        rows[-1]['epoch'] = epoch
    return rows


def _draw_epochs(rows: Sequence[dict], path: Path) -> None:
    def column(ending: str) -> str | None:
        return next(
            (name for name in (rows[0] if rows else ()) if name.endswith(ending)), None
        )

    accuracy, loss = column('/accuracy'), column('/nll')
    if accuracy and loss:
        draw_epoch_curves(
            {
                'mean over folds': dict(
                    epoch=[row['epoch'] for row in rows],
                    accuracy=[row[accuracy] for row in rows],
                    loss=[row[loss] for row in rows],
                )
            },
            path,
        )


def _number(value: float | None) -> float:
    return float('nan') if value is None else float(value)
