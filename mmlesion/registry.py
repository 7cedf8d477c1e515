"""Registries of scope ``mmlesion``, children of MMEngine's.

A config with ``default_scope='mmdet'`` (or ``'mmpretrain'``) contains
``type='mmlesion.X'``. MMEngine then imports this module by itself, and the
``locations`` below import the modules that register ``X``: no
``custom_imports`` is needed.
"""

# ruff: noqa: E402, I001  (the check comes before the imports it explains)
from .compat import (
    check_versions,
    declare_torchvision_operators,
    name_config_package,
    silence_optional_packages,
)

check_versions()

from collections.abc import Mapping
from typing import Any

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import RUNNERS as MMENGINE_RUNNERS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

declare_torchvision_operators()
name_config_package()
silence_optional_packages()

DATASETS = Registry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope='mmlesion',
    locations=['mmlesion.datasets'],
)
TRANSFORMS = Registry(
    'transform',
    parent=MMENGINE_TRANSFORMS,
    scope='mmlesion',
    locations=['mmlesion.datasets.transforms'],
)
MODELS = Registry(
    'model', parent=MMENGINE_MODELS, scope='mmlesion', locations=['mmlesion.models']
)
TASK_UTILS = Registry(
    'task util',
    parent=MMENGINE_TASK_UTILS,
    scope='mmlesion',
    locations=['mmlesion.models'],
)
METRICS = Registry(
    'metric',
    parent=MMENGINE_METRICS,
    scope='mmlesion',
    locations=['mmlesion.evaluation.metrics'],
)
HOOKS = Registry(
    'hook', parent=MMENGINE_HOOKS, scope='mmlesion', locations=['mmlesion.engine.hooks']
)
OPTIM_WRAPPERS = Registry(
    'optimizer wrapper',
    parent=MMENGINE_OPTIM_WRAPPERS,
    scope='mmlesion',
    locations=['mmlesion.engine.bf16_optim_wrapper'],
)
VISUALIZERS = Registry(
    'visualizer',
    parent=MMENGINE_VISUALIZERS,
    scope='mmlesion',
    locations=['mmlesion.visualization'],
)
ATTRIBUTIONS = Registry(
    'attribution method', scope='mmlesion', locations=['mmlesion.explain.methods']
)
MAP_MEASURES = Registry(
    'measure of maps', scope='mmlesion', locations=['mmlesion.explain.measures']
)
RUNNERS = Registry(
    'runner',
    parent=MMENGINE_RUNNERS,
    scope='mmlesion',
    build_func=MMENGINE_RUNNERS.build_func,
    locations=['mmlesion.engine.lesion_runner'],
)
#: Steps that extend the findings of a scan.
SCAN_STEPS = Registry('scan step', scope='mmlesion', locations=['mmlesion.scan.steps'])


def type_name(cfg: Mapping[str, Any]) -> str:
    """Return the name of the class that a config describes.

    Args:
        cfg: Config with ``type``, a name with or without a scope, or a class.

    Returns:
        The name without scope and modules; empty without ``type``.
    """
    kind = cfg.get('type', '')
    name = kind.__name__ if isinstance(kind, type) else str(kind)
    return name.rpartition('.')[2]
