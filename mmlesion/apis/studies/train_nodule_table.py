"""Table of nodule classifiers: methods x inputs x folds."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.logging import print_log

from mmlesion.apis.cross_validate import cross_validate
from mmlesion.apis.nodule_inputs import (
    NUM_CHANNELS,
    set_nodule_extent,
    set_nodule_inputs,
)
from mmlesion.datasets.indices.annotation_file import annotation_file
from mmlesion.files import write_csv_table, write_text
from mmlesion.registry import type_name

from .nodule_differences import (
    NODULE_DIFFERENCE_COLUMNS,
    nodule_difference_table,
    nodule_differences,
)

#: Rows of Table 1 of Lei et al., arXiv 1810.12494, as names of configs.
METHODS = (
    *(
        f'{net}{head}'
        for net in ('vgg16', 'resnet18', 'resnet34', 'densenet121')
        for head in ('', '_cam', '_sam')
    ),
    'pn_samp',
    'cam',
    'sam',
    'hesam',
)

#: Metrics of the csv; those with a title are columns of the Markdown table.
_METRICS = {
    'binary/accuracy': 'accuracy',
    'binary/sensitivity': 'sensitivity',
    'binary/specificity': 'specificity',
    'binary/auc': 'AUC',
    'binary/nll': 'NLL',
    'binary/brier': 'Brier',
    'binary/ece': 'ECE',
}

COLUMNS = ('method', 'inputs', 'fold', 'seed', 'epochs', *_METRICS)


@dataclass
class TableOptions:
    """Options of :func:`train_nodule_table`.

    Attributes:
        inputs: Inputs, the columns of Table 1.
        num_folds: Number of folds, without a patient in two folds.
        seeds: Random seeds of folds, initialization and training.
        recipe: ``'ours'``, the schedule of each config, or ``'paper'``: SGD and no
            augmentation.
        epochs: Number of epochs. Defaults to that of the configs.
        width: Share of the feature maps of the networks of the paper's authors (CAM,
            SAM, HESAM); other networks keep theirs.
        common_extent: Show the same surroundings of all nodules, see
            :func:`mmlesion.apis.set_nodule_extent`.
        amp: Change a config to mixed precision.
    """

    inputs: Sequence[str] = tuple(NUM_CHANNELS)
    num_folds: int = 5
    seeds: Sequence[int] = (0,)
    recipe: str = 'ours'
    epochs: int | None = None
    width: float = 1.0
    common_extent: bool = False
    amp: Any = None


def train_nodule_table(
    configs: Sequence[Config], out_dir: str | Path, options: TableOptions | None = None
) -> str:
    """Cross-validate each method on each input, and write one table.

    The work directory of a cell is ``<out_dir>/<method>_<inputs>_seed<seed>``. Finished
    cells are read and an unfinished cell resumes, so that an interrupted call can be
    repeated. After each cell, ``table.csv`` (a row for each fold) and ``table.md`` are
    written. At the end, ``differences.csv`` and ``table.md`` contain the differences of
    each method to the first method with the same inputs, and of each input to the first
    input of the same method, with intervals over patients and seeds.

    Source: Lei et al., arXiv 1810.12494, Table 1. Differs from it in: folds that
    separate patients.

    Args:
        configs: Configs of nodule classifiers, such as ``configs/hesam/*_lidc_11c.py``.
        out_dir: Folder of the results.
        options: Inputs, folds, seeds and ways to shorten the table.

    Returns:
        The Markdown tables.

    Raises:
        ValueError: If there is no config, the recipe is unknown, a width does not fit,
            or a folder belongs to other settings.
    """
    options = options or TableOptions()
    if not configs:
        raise ValueError('The table needs at least one config.')
    rows: list[dict[str, Any]] = []
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    table = ''
    runs: dict[tuple[str, str], list[Path]] = {}
    index = None
    cells = [(s, i, c) for s in options.seeds for i in options.inputs for c in configs]
    for number, (seed, inputs, config) in enumerate(cells, 1):
        method = Path(config.filename).stem.replace('_lidc_11c', '')
        print_log(f'{method}, {inputs}: {number} of {len(cells)}', 'current')
        cfg = prepare_cell(config, inputs, options)
        cfg.work_dir = str(out_dir / f'{method}_{inputs}_seed{seed}')
        runs.setdefault((method, inputs), []).append(Path(cfg.work_dir))
        index = annotation_file(cfg.test_dataloader.dataset)
        summary = cross_validate(cfg, options.num_folds, seed)
        for fold in range(options.num_folds):
            values = {
                name: summary['metrics'][name]['values'][fold]
                for name in _METRICS
                if name in summary['metrics']
            }
            about = dict(method=method, inputs=inputs, fold=fold, seed=seed)
            rows.append(dict(about, epochs=cfg.train_cfg.max_epochs, **values))
        write_csv_table(out_dir / 'table.csv', COLUMNS, rows)
        table = format_table(rows)
        write_text(out_dir / 'table.md', table + '\n')
    if len(runs) > 1 and index is not None:
        differences = nodule_differences(
            {f'{method} {inputs}': runs[method, inputs] for method, inputs in runs},
            _pairs(list(runs)),
            index,
        )
        write_csv_table(
            out_dir / 'differences.csv', NODULE_DIFFERENCE_COLUMNS, differences
        )
        table = f'{table}\n\n{nodule_difference_table(differences)}'
        write_text(out_dir / 'table.md', table + '\n')
    return table


def _pairs(cells: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs of a cell and the first cell of its inputs, and of its method."""
    pairs = []
    for part in (1, 0):
        first: dict[str, tuple[str, str]] = {}
        for cell in cells:
            reference = first.setdefault(cell[part], cell)
            if reference != cell:
                pairs.append((' '.join(cell), ' '.join(reference)))
    return pairs


def prepare_cell(config: Config, inputs: str, options: TableOptions) -> Config:
    """Config of one method on one input.

    Args:
        config: The config; not changed.
        inputs: '1c', '3c', '11c' or '21c'.
        options: Recipe and ways to shorten the training.

    Returns:
        The changed copy, whose test measures the classification alone.
    """
    cfg = set_nodule_inputs(copy.deepcopy(config), inputs)
    if options.common_extent:
        set_nodule_extent(cfg)
    if options.recipe == 'paper':
        _use_paper_recipe(cfg)
    elif options.recipe != 'ours':
        raise ValueError(f"recipe must be 'ours' or 'paper', got {options.recipe!r}.")
    if options.epochs is not None:
        cfg.train_cfg.max_epochs = options.epochs
    if options.width != 1:
        _scale_width(cfg, options.width)
    # maps are measured by mmlesion measure-maps
    cfg.custom_hooks = [
        hook
        for hook in cfg.get('custom_hooks') or ()
        if type_name(hook) != 'ActivationMapHook'
    ]
    cfg.test_evaluator = cfg.val_evaluator
    if options.amp is not None:
        options.amp(cfg)
    return cfg


def format_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown table with mean and deviation over folds and seeds of each metric.

    Args:
        rows: Rows of ``table.csv``.
    """
    lines = [
        f'| method | inputs | {" | ".join(_METRICS.values())} | folds |',
        '|---' * (3 + len(_METRICS)) + '|',
    ]
    for method, inputs in dict.fromkeys((row['method'], row['inputs']) for row in rows):
        chosen = [
            row for row in rows if (row['method'], row['inputs']) == (method, inputs)
        ]
        cells = []
        for name in _METRICS:
            values = [row.get(name, np.nan) for row in chosen]
            deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
            cells.append(f'{np.mean(values):.3f} ± {deviation:.3f}')
        lines.append(f'| {method} | {inputs} | {" | ".join(cells)} | {len(chosen)} |')
    return '\n'.join(lines)


def _use_paper_recipe(cfg: Config) -> None:
    """SGD and no augmentation, as configs/_base_/schedules/lidc_paper.py."""
    schedule = get_config('mmlesion::_base_/schedules/lidc_paper.py')
    for key in ('train_cfg', 'param_scheduler'):
        cfg[key] = schedule[key]
    cfg.optim_wrapper.pop('optimizer')
    cfg.optim_wrapper.optimizer = schedule.optim_wrapper.optimizer
    dataset = cfg.train_dataloader.dataset
    dataset.pipeline = [
        step for step in dataset.pipeline if step.type != 'mmlesion.RandomSymmetry'
    ]


def _scale_width(cfg: Config, width: float) -> None:
    """Change the feature maps of UNetResNet and of the head on top of it."""
    backbone = cfg.model.backbone
    if backbone.type == 'mmlesion.TwoScaleBackbone':
        backbone = backbone.backbone
    if backbone.type != 'mmlesion.UNetResNet':
        return
    code, maps = round(256 * width), round(64 * width)
    if width <= 0 or code % 8 or not maps:
        raise ValueError(
            f'width must be positive and 256 times it a multiple of 8, got {width}.'
        )
    backbone.update(
        code_channels=code, unet_channels=maps, res_channels=(code // 2, code)
    )
    cfg.model.head.in_channels = code
