"""Evaluation of sign networks on whole scans at the natural frequencies."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from tqdm import tqdm

from mmlesion.ct import REGIONS
from mmlesion.datasets.indices.scan_list import ScanRow, projection_path
from mmlesion.datasets.lung_projection import WHOLE_TASKS, LungProjectionDataset
from mmlesion.evaluation.functional import (
    binary_areas,
    binary_rates,
    f1_threshold,
    group_bootstrap,
)
from mmlesion.files import write_csv_table, write_json
from mmlesion.scan.sign_networks import SignNetwork, projection_data, read_projection

_SCORES, _SUMMARY = 'scores.csv', 'summary.json'
_INTENSITY, _REGION = 'mean intensity', 'lung region'
_CONTROLS = (_REGION, _INTENSITY)
_ANY, _EXTENT = 'any sign', 'extent of signs'
_NOT_TRAINED_ON_TASK = (*_CONTROLS, _ANY, _EXTENT)
_RATES = ('precision', 'balanced_precision', 'sensitivity', 'f1')


@dataclass
class _Cases:
    """Lung regions or whole scans of one task and split.

    Attributes:
        rows: Scan, patient, area and label of each case; the label may be None.
        scores: Scores (N,) by predictor; a view of a network is a predictor.
    """

    rows: list[dict[str, Any]]
    scores: dict[str, np.ndarray]

    def labeled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return indices, labels and patients of the cases with a label."""
        known = [i for i, row in enumerate(self.rows) if row['label'] is not None]
        labels = np.array([self.rows[i]['label'] for i in known], int)
        patients = np.array([self.rows[i]['patient'] for i in known])
        return np.array(known, int), labels, patients


def evaluate_signs(
    configs: Sequence[Config],
    checkpoints: Sequence[str],
    out_dir: str | os.PathLike[str],
    num_resamples: int = 1000,
    seed: int = 0,
    balanced: bool = False,
    score_thr: float | None = None,
    device: str | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Evaluate networks of signs, disease and survival, and their combinations.

    All labeled lung regions of the test scans count, without balancing and rotation, so
    the precision is that at the natural frequency of the sign. The predictors are

    - each view: the probability of its network, or the mean if there are several;
    - ``mean of views``: the mean probability of the views of a task;
    - ``any sign``: for disease and survival, ``1 - prod(1 - p)`` over all signs and
      lung regions, where p is the mean of the views (noisy-or);
    - ``extent of signs``: for disease and survival, the mean of p over all signs and
      lung regions;
    - ``mean intensity``: the mean gray value of the projection (first view), as a
      control without a network. Validation cases determine whether high or low values
      are positive;
    - ``lung region``: for signs, the frequency of the sign in this lung region of the
      training scans, as a control without an image.

    The threshold of each predictor has the largest F1 on the validation scans, with
    ``balanced`` the largest F1 if both labels were equally frequent. A
    network whose data set has no validation scans (``num_val_folds=0``) was trained on
    them and gets the threshold 0.5, as do predictors whose validation cases have only
    one label.

    The files are ``scores.csv`` (one row per test case and predictor) and
    ``summary.json`` (the output).

    Source: Zusag et al., SAPSAM, Secs. 2.3, 2.4 and 3.1. The paper classifies diseases
    from projections of the whole lungs; ``any sign`` and ``extent of signs`` are ours.

    Args:
        configs: Networks of one or more tasks with the same test scans.
        checkpoints: One checkpoint per config.
        out_dir: Folder of the results.
        num_resamples: Number of bootstrap resamples of patients for the intervals.
        seed: Random seed of the resamples.
        balanced: Whether the threshold is for equally frequent labels, as in the paper.
        score_thr: Threshold of the networks and of the mean of views instead of a
            threshold from the validation scans. 0.5 is the decision of a softmax that
            was trained with equally frequent labels.
        device: Defaults to the GPU if available.
        progress: Whether to show a progress bar.

    Returns:
        For each task and predictor: ``task``, ``predictor``, ``threshold``,
        ``precision``, ``balanced_precision`` (if both labels were equally frequent, as
        in the paper), ``sensitivity`` (recall), ``f1``, ``auc``, each of these five
        with an interval ``<name>_interval`` (95 %), ``prevalence``, ``cases`` and
        ``patients``.

    Raises:
        FileNotFoundError: If the index, a projection or a checkpoint does not exist.
        ValueError: If the configs do not match, have different test scans, the test
            scans of a task do not have both labels, or ``score_thr`` is not in [0, 1].
    """
    if score_thr is not None and not 0 <= score_thr <= 1:
        raise ValueError(f'score_thr must be in [0, 1], but is {score_thr}')
    out_dir = Path(out_dir)
    networks = _load(configs, checkpoints, device)
    out_dir.mkdir(parents=True, exist_ok=True)
    found = {
        split: _scores(networks, split, progress)
        for split in ('val', 'test')
        if split == 'test' or any(each.has_val for each in networks)
    }
    trained_on_val = {each.task for each in networks if not each.has_val}
    table, rows = [], []
    for task, cases in found['test'].items():
        for predictor, scores in cases.scores.items():
            of_network = predictor not in _NOT_TRAINED_ON_TASK
            seen = task in trained_on_val and of_network
            val = None if seen else found.get('val', {}).get(task)
            table.append(
                dict(
                    task=task,
                    predictor=predictor,
                    **_measure(
                        task,
                        predictor,
                        cases,
                        val,
                        num_resamples,
                        seed,
                        balanced,
                        score_thr if of_network else None,
                    ),
                )
            )
            rows += [
                dict(row, task=task, predictor=predictor, score=round(float(score), 6))
                for row, score in zip(cases.rows, scores)
            ]
    write_csv_table(out_dir / _SCORES, list(rows[0]), rows)
    write_json(out_dir / _SUMMARY, table)
    return table


def signs_evaluation_table(table: Sequence[Mapping[str, Any]]) -> str:
    """Format the result as a Markdown table."""
    lines = [
        '| task | predictor | precision | balanced precision | recall | F1 | AUC | '
        'prevalence | cases | patients | threshold |',
        '|---' * 11 + '|',
    ]
    for row in table:
        cells = [row['task'], row['predictor']]
        for name in (*_RATES, 'auc'):
            low, high = row[f'{name}_interval']
            cells.append(f'{row[name]:.2f} ({low:.2f} to {high:.2f})')
        cells += [f'{row["prevalence"]:.2f}', str(row['cases']), str(row['patients'])]
        lines.append(f'| {" | ".join(cells)} | {row["threshold"]:.3g} |')
    return '\n'.join(lines)


@dataclass
class _Network:
    task: str
    view: str
    data: LungProjectionDataset
    data_cfg: dict
    network: SignNetwork

    @property
    def has_val(self) -> bool:
        return bool(self.data.num_val_folds or self.data.split_rows()[0].split)


def _load(
    configs: Sequence[Config], checkpoints: Sequence[str], device: str | None
) -> list[_Network]:
    data_cfgs = projection_data(configs, checkpoints)
    init_default_scope(configs[0].get('default_scope', 'mmpretrain'))
    networks: list[_Network] = []
    for cfg, data_cfg, checkpoint in zip(configs, data_cfgs, checkpoints):
        data = _data(data_cfg, 'test')
        loaded = SignNetwork.load(cfg, checkpoint, device=device)
        networks.append(_Network(data.task, data.view, data, data_cfg, loaded))
    # A scan that another network was trained on would be an unfair test case.
    for split in ('test', 'val'):
        scans: list[tuple[str | None, set[str]]] = []
        for each, cfg in zip(networks, configs):
            if split == 'test' or each.has_val:
                rows = _data(each.data_cfg, split).split_rows()
                scans.append((cfg.filename, {row.scan for row in rows}))
        for name, own in scans:
            different = len(own ^ scans[0][1])
            if different:
                raise ValueError(
                    f'{name}: expected the {split} scans of the other configs, but '
                    f'{different} scans differ; check index, seed and folds.'
                )
    return networks


def _data(data_cfg: dict, split: str) -> LungProjectionDataset:
    return DATASETS.build(dict(data_cfg, split=split, balance=False, lazy_init=True))


def _scores(
    networks: Sequence[_Network], split: str, progress: bool
) -> dict[str, _Cases]:
    """Return the cases of a split by task."""
    source = next((each for each in networks if each.has_val), networks[0])
    data = _data(source.data_cfg, split)
    root = data.data_prefix['img_path']
    training = _data(source.data_cfg, 'train').split_rows()
    by_task: dict[str, list[_Network]] = {}
    for each in networks:
        by_task.setdefault(each.task, []).append(each)
    records: dict[str, list[dict[str, Any]]] = {task: [] for task in by_task}
    shares = {
        task: _region_shares(training, task)
        for task in by_task
        if task not in WHOLE_TASKS
    }
    rows = data.split_rows()
    for row in tqdm(rows, f'Scans ({split})', unit='scan', disable=not progress):
        for task, group in by_task.items():
            found_here = _records_of_scan(row, task, group, root)
            if task in shares:
                for record in found_here:
                    record['scores'][_REGION] = shares[task][record['area']]
            records[task] += found_here
    found = {task: _cases(table) for task, table in records.items()}
    signs = [task for task in found if task not in WHOLE_TASKS]
    if signs:
        _add_sign_predictors(found, rows, signs)
    return found


def _region_shares(rows: Sequence[ScanRow], task: str) -> dict[str, float]:
    """Return the frequency of a sign in each lung region."""
    shares = {}
    for region in REGIONS:
        labels = [row.signs.get(task, {}).get(region) for row in rows]
        known = [label for label in labels if label is not None]
        shares[region] = sum(known) / len(known) if known else 0.0
    return shares


def _records_of_scan(
    row: ScanRow, task: str, group: Sequence[_Network], root: str
) -> list[dict[str, Any]]:
    """Return label and scores of each area of a scan."""
    if task in WHOLE_TASKS:
        labels = {'whole': getattr(row, task)}
    else:
        labels = {
            area: row.signs[task].get(area) for area in REGIONS if area not in row.empty
        }
    records: list[dict[str, Any]] = [
        dict(scan=row.scan, patient=row.patient, area=area, label=label, scores={})
        for area, label in labels.items()
    ]
    if not records:  # no lung region contains lung
        return []
    for number, view in enumerate(dict.fromkeys(each.view for each in group)):
        paths = [
            projection_path(str(Path(root) / row.folder), area, view, 0)
            for area in labels
        ]
        for path in paths:
            if not Path(path).is_file():
                raise FileNotFoundError(f'{path}: no such file; prepare the scan again')
        if number == 0:
            for record, path in zip(records, paths):
                record['scores'][_INTENSITY] = float(read_projection(path).mean())
        of_view = [
            each.network.probabilities(paths) for each in group if each.view == view
        ]
        for record, p in zip(records, np.mean(of_view, 0)):
            record['scores'][view] = float(p)
    return records


def _cases(records: Sequence[dict[str, Any]]) -> _Cases:
    names = records[0]['scores']
    scores = {
        name: np.array([record['scores'][name] for record in records])
        for name in sorted(names, key=_CONTROLS.__contains__)
    }
    views = [name for name in names if name not in _CONTROLS]
    if len(views) > 1:
        mean = np.mean([scores[view] for view in views], 0)
        controls = {name: scores.pop(name) for name in _CONTROLS if name in scores}
        scores = {**scores, 'mean of views': mean, **controls}
    rows = [{k: v for k, v in record.items() if k != 'scores'} for record in records]
    return _Cases(rows, scores)


def _add_sign_predictors(
    found: dict[str, _Cases], rows: Sequence[ScanRow], signs: Sequence[str]
) -> None:
    """Add the predictions of disease and survival from the signs."""
    probabilities: dict[str, list[float]] = {row.scan: [] for row in rows}
    for sign in signs:
        cases = found[sign]
        views = [name for name in cases.scores if name not in _CONTROLS]
        for record, p in zip(cases.rows, cases.scores[views[-1]]):
            probabilities[record['scan']].append(float(p))
    values = [np.array(probabilities[row.scan]) for row in rows]
    added = {
        _ANY: np.array([1 - np.prod(1 - p) for p in values]),
        _EXTENT: np.array([p.mean() if len(p) else 0.0 for p in values]),
    }
    for task in WHOLE_TASKS:
        if task not in found:
            records = [
                dict(
                    scan=row.scan,
                    patient=row.patient,
                    area='whole',
                    label=getattr(row, task),
                )
                for row in rows
            ]
            if len({record['label'] for record in records} - {None}) < 2:
                continue
            found[task] = _Cases(records, {})
        found[task].scores.update(added)


def _measure(
    task: str,
    predictor: str,
    cases: _Cases,
    val: _Cases | None,
    num_resamples: int,
    seed: int,
    balanced: bool,
    score_thr: float | None,
) -> dict[str, Any]:
    known, labels, patients = cases.labeled()
    if len(set(labels.tolist())) < 2:
        raise ValueError(
            f'{task}: expected test cases of both labels, got {len(labels)} cases of '
            'one label; use another fold or seed'
        )
    scores, threshold = cases.scores[predictor][known], 0.5
    if score_thr is not None:
        threshold = score_thr
    elif val is not None:
        val_known, val_labels, _ = val.labeled()
        val_scores = val.scores[predictor][val_known]
        if (
            predictor == _INTENSITY
            and binary_areas(val_scores, val_labels)['auc'] < 0.5
        ):
            scores, val_scores = 255 - scores, 255 - val_scores
        if len(set(val_labels.tolist())) == 2:
            threshold = f1_threshold(val_scores, val_labels, balanced)

    def statistic(chosen: np.ndarray) -> list[float]:
        rates = binary_rates(scores[chosen], labels[chosen], threshold)
        called = rates['sensitivity'], 1 - rates['specificity']
        rates['balanced_precision'] = (
            called[0] / sum(called) if sum(called) else float('nan')
        )
        area = binary_areas(scores[chosen], labels[chosen])['auc']
        return [*(rates[name] for name in _RATES), area]

    names = (*_RATES, 'auc')
    low, high = group_bootstrap(
        statistic, patients, num_resamples=num_resamples, seed=seed
    )
    values = statistic(np.arange(len(labels)))
    return dict(
        threshold=float(threshold),
        **{name: float(value) for name, value in zip(names, values)},
        **{
            f'{name}_interval': [float(a), float(b)]
            for name, a, b in zip(names, low, high)
        },
        prevalence=float(labels.mean()),
        cases=len(labels),
        patients=len(np.unique(patients)),
    )
