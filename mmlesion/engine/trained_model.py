"""Loading of trained models for inference."""

import os
from pathlib import Path
from typing import Any

import mmengine.hub
import torch
from mmengine.config import Config
from mmengine.device import get_device
from torch import nn

from mmlesion.engine.checkpoint import read_checkpoint
from mmlesion.engine.lesion_runner import load_exactly
from mmlesion.engine.model_building import build_model


def as_config(config: str | os.PathLike[str] | Config) -> Config:
    """Read a config, unless it has been read already.

    Args:
        config: A file, ``package::folder/file.py`` for a config of an installed
            package, or a config.

    Returns:
        The config.

    Raises:
        FileNotFoundError: If the file does not exist.
    """
    if isinstance(config, Config):
        return config
    name = os.fspath(config)
    if '::' in name:
        # Looked up here, because mmlesion.registry extends this function.
        return mmengine.hub.get_config(name)
    if not Path(name).is_file():
        raise FileNotFoundError(f'Config {name} does not exist.')
    return Config.fromfile(name)


def load_trained_model(
    cfg: Config,
    checkpoint: str | os.PathLike[str],
    device: str | torch.device | None = None,
) -> nn.Module:
    """Build the model of a config and load the weights of a checkpoint.

    The function starts no runner and writes no log or work directory.

    Args:
        cfg: The config of any OpenMMLab package. With ``trust_checkpoint=True``, the
            checkpoint may execute code.
        checkpoint: File or http(s) address of a checkpoint of exactly this model.
        device: Defaults to the GPU if available.

    Returns:
        The model in evaluation mode. Its ``dataset_meta`` is that of the checkpoint
        (``classes``), or empty.

    Raises:
        FileNotFoundError: If the checkpoint does not exist.
        ValueError: If the checkpoint would run code or belongs to another model.
    """
    checkpoint = os.fspath(checkpoint)
    content = read_checkpoint(
        checkpoint, trust=bool(cfg.get('trust_checkpoint', False))
    )
    model: Any = build_model(cfg)
    load_exactly(model, content, checkpoint)
    model.dataset_meta = (content.get('meta') or {}).get('dataset_meta') or {}
    return model.to(device or get_device()).eval()
