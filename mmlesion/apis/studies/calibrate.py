"""Calibration of classifiers: temperature, reliability and operating points."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from tqdm import tqdm

from mmlesion.datasets.indices.shared_cases import shared_cases
from mmlesion.engine.checkpoint import read_checkpoint
from mmlesion.engine.trained_model import load_trained_model
from mmlesion.evaluation.functional import (
    apply_temperature,
    binary_areas,
    binary_rates,
    brier_score,
    calibration_error,
    fit_temperature,
    log_loss,
    operating_points,
    positive_probability,
)
from mmlesion.files import atomic_path, write_json
from mmlesion.visualization import draw_reliability


def calibrate(
    cfg: Config,
    checkpoint: str | Path,
    out_file: str | Path,
    batch_size: int = 64,
    device: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Fit a temperature on the validation cases and store it in the checkpoint.

    The temperature and the operating points are chosen on the validation cases and
    reported on the test cases. Their reliability diagram (``.reliability.png``) and all
    numbers (``.calibration.json``) are written beside the checkpoint.

    Args:
        cfg: Config of a ``mmlesion.CalibratedClassifier`` with two classes, whose
            validation patients are neither trained nor tested.
        checkpoint: Checkpoint of the model.
        out_file: Checkpoint to write, with the temperature.
        batch_size: Cases in one batch.
        device: Defaults to the GPU if there is a GPU.
        progress: Show a progress bar.

    Returns:
        ``temperature``, and the numbers ``before`` and ``after``, see
        :func:`calibration_table`.

    Raises:
        ValueError: If the validation data have patients of the training or test data,
            the model stores no temperature, or a class has no validation case.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    datasets = _separate_datasets(cfg)
    model: Any = load_trained_model(cfg, checkpoint, device)
    if not hasattr(model, 'temperature'):
        raise ValueError(
            f'{cfg.filename}: {type(model).__name__} stores no temperature; set '
            "model.type='mmlesion.CalibratedClassifier'."
        )
    model.temperature.fill_(1)
    known, tested = (
        _predict(model, each, batch_size, title, progress)
        for each, title in zip(datasets, ('Validation cases', 'Test cases'))
    )
    temperature = fit_temperature(*known)
    content = read_checkpoint(checkpoint)
    content['state_dict']['temperature'] = torch.tensor(temperature)
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out_file) as path:
        torch.save(content, path)
    result = _report(known, tested, temperature)
    _write(result, tested, apply_temperature(tested[0], temperature), out_file)
    return result


def calibrate_folds(work_dir: str | Path) -> dict[str, Any]:
    """Calibrate the test scores of a cross-validation, without its checkpoints.

    The temperature and the operating points of a fold are chosen on the test cases of
    the other folds, which the networks of these folds have not seen in training.
    ``calibration.reliability.png`` and ``calibration.calibration.json`` are written
    into the folder.

    Args:
        work_dir: Work directory of :func:`mmlesion.apis.cross_validate`.

    Returns:
        See :func:`calibrate`; ``temperature`` is the mean over the folds.

    Raises:
        ValueError: If fewer than two folds have scores.
    """
    work_dir = Path(work_dir)
    paths = sorted(work_dir.glob('fold*/test.scores.json'))
    if len(paths) < 2:
        raise ValueError(
            f'{work_dir}: expected test.scores.json of two folds or more, the work '
            f'directory of mmlesion cross-validate; found {len(paths)}.'
        )
    folds = []
    for path in paths:
        cases = json.loads(path.read_text())
        folds.append(
            (
                np.array([case['score'] for case in cases], np.float64),
                np.array([case['label'] for case in cases]),
            )
        )
    temperatures, calibrated, reports = [], [], []
    for index, fold in enumerate(folds):
        rest = [each for other, each in enumerate(folds) if other != index]
        known = (
            np.concatenate([s for s, _ in rest]),
            np.concatenate([y for _, y in rest]),
        )
        temperatures.append(fit_temperature(*known))
        calibrated.append(apply_temperature(fold[0], temperatures[-1]))
        reports.append(_report(known, fold, temperatures[-1]))
    tested = (
        np.concatenate([s for s, _ in folds]),
        np.concatenate([y for _, y in folds]),
    )
    result = dict(
        temperature=float(np.mean(temperatures)),
        temperatures=temperatures,
        before=_mean([report['before'] for report in reports]),
        after=_mean([report['after'] for report in reports]),
        operating_points={
            name: _mean([report['operating_points'][name] for report in reports])
            for name in reports[0]['operating_points']
        },
    )
    _write(result, tested, np.concatenate(calibrated), work_dir / 'calibration.pth')
    return result


def calibration_table(result: Mapping[str, Any]) -> str:
    """Format numbers before and after, and operating points, as Markdown tables."""
    names = list(result['before'])
    lines = [
        f'temperature {result["temperature"]:.3f}',
        '',
        f'| | {" | ".join(names)} |',
        '|---' * (1 + len(names)) + '|',
    ]
    for row in ('before', 'after'):
        cells = [f'{result[row][name]:.4f}' for name in names]
        lines.append(f'| {row} | {" | ".join(cells)} |')
    columns = ('threshold', 'accuracy', 'sensitivity', 'specificity', 'precision')
    lines += [
        '',
        f'| operating point | {" | ".join(columns)} |',
        '|---' * (1 + len(columns)) + '|',
    ]
    for name, point in result['operating_points'].items():
        cells = [f'{point[column]:.3f}' for column in columns]
        lines.append(f'| {name} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def _separate_datasets(cfg: Config) -> list[Any]:
    """Build the validation and test data; refuse shared patients."""
    parts = dict(
        validation=cfg.val_dataloader.dataset,
        test=cfg.test_dataloader.dataset,
        training=cfg.train_dataloader.dataset,
    )
    built = {name: DATASETS.build(each) for name, each in parts.items()}
    for name in ('test', 'training'):
        key, both = shared_cases(built['validation'], built[name])
        if both or parts['validation'] == parts[name]:
            which = f' (both have {key} {both[0]})' if both else ''
            raise ValueError(
                f'{cfg.filename}: the validation cases are the {name} cases{which}; a '
                'temperature needs other cases, e.g. val_dataloader.dataset.split=val '
                'and train_dataloader.dataset.split=fit of mmlesion.LIDCNoduleDataset.'
            )
    return [built['validation'], built['test']]


def _predict(
    model: Any, dataset: Any, batch_size: int, title: str, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Probability and label of each case."""
    scores, labels = [], []
    with torch.no_grad():
        for first in tqdm(
            range(0, len(dataset), batch_size), desc=title, disable=not progress
        ):
            last = min(len(dataset), first + batch_size)
            batch = pseudo_collate([dataset[index] for index in range(first, last)])
            for sample in model.test_step(batch):
                if len(sample.pred_score) != 2:
                    raise ValueError(
                        'A temperature is fitted for two classes, got '
                        f'{len(sample.pred_score)}.'
                    )
                scores.append(positive_probability(sample.pred_score.tolist()))
                labels.append(int(sample.gt_label))
    return np.array(scores), np.array(labels)


def _report(
    known: tuple[np.ndarray, np.ndarray],
    tested: tuple[np.ndarray, np.ndarray],
    temperature: float,
) -> dict[str, Any]:
    """Numbers of the test cases; thresholds come from the validation cases."""
    scores, labels = tested
    after = apply_temperature(scores, temperature)
    points = {}
    for name, point in operating_points(
        apply_temperature(known[0], temperature), known[1]
    ).items():
        threshold = point['threshold']
        # binary_rates calls scores above the threshold positive, not equal ones
        limit = threshold if name == '0.5' else np.nextafter(threshold, -np.inf)
        points[name] = dict(threshold=threshold, **binary_rates(after, labels, limit))
    return dict(
        temperature=temperature,
        before=_numbers(scores, labels),
        after=_numbers(after, labels),
        operating_points=points,
    )


def _numbers(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return dict(
        auc=binary_areas(scores, labels)['auc'],
        accuracy=binary_rates(scores, labels)['accuracy'],
        nll=log_loss(scores, labels),
        brier=brier_score(scores, labels),
        ece=calibration_error(scores, labels),
    )


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _write(
    result: dict[str, Any],
    tested: tuple[np.ndarray, np.ndarray],
    after: np.ndarray,
    path: Path,
) -> None:
    scores, labels = tested
    write_json(path.with_suffix('.calibration.json'), result, indent=1)
    draw_reliability(
        {'before': (scores, labels), 'temperature': (after, labels)},
        path.with_suffix('.reliability.png'),
    )
