"""A training of one step and a validation, for any detection config."""

import logging

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmlesion.engine.lesion_runner import LesionRunner
from mmlesion.phantom import write_deeplesion

#: Widths of the parts behind the backbone, published and tiny.
NARROW = {256: 64, 1024: 128}


def narrow(cfg):
    """Replace the published widths in a config; lists, such as strides, stay."""
    for key, value in cfg.items() if isinstance(cfg, dict) else enumerate(cfg):
        if key == 'backbone':
            if 'neck' in value:
                narrow(value['neck'])
        elif isinstance(value, (dict, list)) and key not in (
            'data_preprocessor',
            'train_cfg',
            'test_cfg',
        ):
            narrow(value)
        elif isinstance(cfg, dict) and isinstance(value, int) and value in NARROW:
            cfg[key] = NARROW[value]


@pytest.fixture(scope='session')
def tiny_deeplesion(tmp_path_factory):
    """Two training samples and one validation sample, 96 x 96 px, 9 slices and more."""
    folder = tmp_path_factory.mktemp('tiny') / 'DeepLesion'
    return write_deeplesion(folder, 2, 1, 1, size=96, context_mm=15)


@pytest.fixture
def train_one_step(tiny_deeplesion, tmp_path):
    """Train one step on the tiny data and validate; returns the runner."""

    def run(cfg: Config) -> LesionRunner:
        if 'encoder' not in cfg.model:  # transformers have widths in their defaults
            narrow(cfg.model)
        for split in ('train', 'val', 'test'):
            loader = cfg[f'{split}_dataloader']
            loader.update(num_workers=0, persistent_workers=False, pin_memory=False)
            loader.dataset.data_root = str(tiny_deeplesion)
        cfg.train_dataloader.batch_size = 2
        cfg.train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)
        cfg.param_scheduler = []
        cfg.default_hooks = dict(
            checkpoint=None, logger=dict(type='LoggerHook', interval=1)
        )
        cfg.val_evaluator.num_resamples = 10
        cfg.merge_from_dict(
            dict(
                work_dir=str(tmp_path),
                load_from=None,
                log_level='ERROR',
                tta_model=None,
            )
        )
        cfg.env_cfg = dict(cudnn_benchmark=False)
        cfg.visualizer = dict(type='Visualizer', name=tmp_path.name)
        cfg.experiment_name = f'{tmp_path.name}'
        logging.disable(logging.WARNING)
        try:
            runner = LesionRunner.from_cfg(cfg)
            before = [p.detach().clone() for p in runner.model.parameters()]
            runner.train()
        finally:
            logging.disable(logging.NOTSET)
        scalars = runner.message_hub.log_scalars
        loss = scalars['train/loss'].current()
        assert np.isfinite(loss) and runner.iter == 1
        assert 0 <= scalars['val/froc/sens@4'].current() <= 1
        trained = sum(
            not torch.equal(a, b.detach())
            for a, b in zip(before, runner.model.parameters())
        )
        # Zero starts receive gradients from the second step on
        assert trained > 0.6 * sum(p.requires_grad for p in runner.model.parameters())
        return runner

    return run
