"""Training schedules with equal CPU time."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from mmengine.runner import Runner

from mmlesion.engine.hooks.float32_boxes_hook import cast_head_outputs
from mmlesion.engine.model_building import initialize_weights
from mmlesion.files import write_json

_WARM_UP, _MEASURED = 2, 8


def set_epochs(cfg: Config, epochs: int) -> None:
    """Change the number of epochs and scale the learning rate schedule accordingly.

    Schedules by iteration, such as a warm-up, are not scaled.

    Args:
        cfg: Config with ``train_cfg.max_epochs``; changed in place.
        epochs: Number of epochs, at least 1.

    Raises:
        ValueError: If ``epochs`` is below 1 or the config has no epochs.
    """
    if epochs < 1 or 'max_epochs' not in cfg.train_cfg:
        raise ValueError(
            f'{cfg.filename}: expected train_cfg.max_epochs and at least 1 epoch, '
            f'got {epochs}.'
        )
    factor = epochs / cfg.train_cfg.max_epochs
    schedulers = cfg.get('param_scheduler') or []
    for each in schedulers if isinstance(schedulers, list) else [schedulers]:
        if not each.get('by_epoch', True):
            continue
        for key in ('T_max', 'begin', 'end'):
            if each.get(key):
                each[key] = max(1, round(each[key] * factor))
        if 'milestones' in each:
            each.milestones = [max(1, round(m * factor)) for m in each.milestones]
    cfg.train_cfg.max_epochs = epochs
    interval = cfg.train_cfg.get('val_interval', 1)
    cfg.train_cfg.val_interval = min(interval, epochs)


def stored_epochs(cfg: Config, cpu_minutes: float, folder: Path) -> int:
    """Return the number of epochs of a budget, measured once for all seeds.

    The number is stored in the folder with a hash of the settings, and measured again
    if they change.

    Args:
        cfg: Detection config.
        cpu_minutes: CPU time of one training.
        folder: Folder of the runs of this config.

    Returns:
        The number of epochs.
    """
    path = folder / f'epochs_in_{cpu_minutes:g}_minutes.json'
    same = dict(cfg.to_dict(), randomness=None, experiment_name=None, work_dir=None)
    text = json.dumps(same, sort_keys=True, default=str)
    settings = hashlib.sha256(text.encode()).hexdigest()
    stored = json.loads(path.read_text()) if path.is_file() else {}
    if stored.get('settings') != settings:
        epochs = epochs_within(cfg, 60 * cpu_minutes)
        stored = dict(epochs=epochs, settings=settings)
        write_json(path, stored)
    return int(stored['epochs'])


def epochs_within(cfg: Config, seconds: float) -> int:
    """Return the number of training epochs that fit into a CPU time.

    The time of a few training steps, including data loading, is measured.

    Args:
        cfg: Detection config.
        seconds: CPU time.

    Returns:
        The number of epochs.

    Raises:
        ValueError: If not even one epoch fits.
    """
    torch.manual_seed(0)
    loader: Any = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    model = MODELS.build(cfg.model)
    initialize_weights(model)
    model.train()
    cast_head_outputs(model)  # as in training with mixed precision
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    for group in wrapper.param_groups:
        group['lr'] = 0.0  # there is no warm-up, so that the steps could diverge
    steps, measured = 0, 0.0
    while steps < _WARM_UP + _MEASURED:
        start = time.process_time()
        for batch in loader:
            data = model.data_preprocessor(batch, True)
            with wrapper.optim_context(model):
                losses = model(**data, mode='loss')
            wrapper.update_params(model.parse_losses(losses)[0])
            if steps >= _WARM_UP:
                measured += time.process_time() - start
            steps, start = steps + 1, time.process_time()
            if steps == _WARM_UP + _MEASURED:
                break
    per_epoch = measured / _MEASURED * len(loader)
    epochs = int(seconds / per_epoch)
    if epochs < 1:
        raise ValueError(
            f'{cfg.filename}: one epoch takes {per_epoch:.0f} s of CPU time, more than '
            f'the budget of {seconds:.0f} s.'
        )
    return epochs
