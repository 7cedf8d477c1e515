"""Models from configs, without a checkpoint."""

import logging
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn


def build_model(cfg: Config) -> nn.Module:
    """Build the model of a config, without weights.

    Args:
        cfg: The config of any OpenMMLab package.

    Returns:
        The model on the CPU.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    model_cfg = cfg.model.copy()
    if cfg.get('data_preprocessor') is not None:  # mmpretrain keeps it outside
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    return MODELS.build(model_cfg)


def build_untrained_model(cfg: Config, seed: int = 0) -> nn.Module:
    """Build the model of a config with random weights, also of pretrained parts.

    The state of the random number generators of PyTorch is left unchanged.

    Args:
        cfg: The config of any OpenMMLab package.
        seed: Seed of the weights.

    Returns:
        The model on the CPU in evaluation mode.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(without_pretrained_weights(cfg))
        initialize_weights(model)
    return model.eval()


def without_pretrained_weights(cfg: Config) -> Config:
    """Return a copy of a config whose model loads no weights when it is initialized.

    Args:
        cfg: The config of any OpenMMLab package.
    """
    cfg = cfg.copy()
    cfg.model = _without_pretrained(cfg.model)
    return cfg


def _without_pretrained(part: Any) -> Any:
    if isinstance(part, (list, tuple)):
        kept = [_without_pretrained(each) for each in part if not _is_pretrained(each)]
        return type(part)(kept)
    if not isinstance(part, dict):
        return part
    return type(part)(
        {
            key: None
            if key == 'pretrained' or _is_pretrained(value)
            else _without_pretrained(value)
            for key, value in part.items()
        }
    )


def _is_pretrained(part: Any) -> bool:
    return isinstance(part, dict) and 'Pretrained' in str(part.get('type'))


def initialize_weights(model: Any) -> None:
    """Initialize the weights of a model without a log line for each parameter.

    Args:
        model: Model with ``init_weights``.
    """
    logging.disable(logging.INFO)
    try:
        model.init_weights()
    finally:
        logging.disable(logging.NOTSET)
