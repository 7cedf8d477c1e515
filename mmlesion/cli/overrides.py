"""Checks of ``--cfg-options`` and of the numbers of a config."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.config import Config

# Top-level settings that are read even if they are not in the config
_TOP = {
    'auto_scale_lr',
    'backend_args',
    'custom_hooks',
    'custom_imports',
    'data_preprocessor',
    'default_hooks',
    'default_scope',
    'env_cfg',
    'experiment_name',
    'find_unused_parameters',
    'launcher',
    'load_from',
    'log_level',
    'log_processor',
    'model',
    'model_wrapper_cfg',
    'optim_wrapper',
    'param_scheduler',
    'randomness',
    'resume',
    'runner_type',
    'sync_bn',
    'table',
    'test_cfg',
    'test_dataloader',
    'test_evaluator',
    'train_cfg',
    'train_dataloader',
    'trust_checkpoint',
    'tta_model',
    'tta_pipeline',
    'val_cfg',
    'val_dataloader',
    'val_evaluator',
    'vis_backends',
    'visualizer',
    'work_dir',
}
# Keys that are read by the builder of an object instead of the object
_OF_BUILDERS = {
    '_delete_',
    '_scope_',
    'constructor',
    'convert_to_iter_based',
    'init_cfg',
    'paramwise_cfg',
    'priority',
    'type',
}
# Settings of dictionaries without a type
_UNTYPED = {
    'train_cfg': {
        'by_epoch',
        'max_epochs',
        'max_iters',
        'val_begin',
        'val_interval',
        'dynamic_intervals',
        'type',
    },
    'randomness': {'seed', 'diff_rank_seed', 'deterministic'},
    'auto_scale_lr': {'enable', 'base_batch_size'},
}
_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_OF_LOADERS = {'dataset', 'sampler', 'batch_sampler', 'collate_fn', 'diff_rank_seed'}
# Minimum values of numbers at any depth
_LEAST = {
    'batch_size': 1,
    'max_epochs': 1,
    'max_iters': 1,
    'num_classes': 1,
    'num_workers': 0,
    'val_interval': 1,
}


def check_overrides(cfg: Config, options: dict[str, Any]) -> None:
    """Check overrides against the config that they change.

    Args:
        cfg: The config before it is changed.
        options: Values by dotted key.

    Raises:
        ValueError: If a key is never read (the message names the most similar known
            key), or the type of a value differs from that of the value that it
            replaces.
    """
    for key, value in options.items():
        _check_one(cfg, key, value)


def check_numbers(cfg: Config) -> None:
    """Check numbers that must not be negative or zero, such as ``max_epochs``.

    Args:
        cfg: The config.

    Raises:
        ValueError: If a value is too small or is not a number. The message names the
            key.
    """
    for key, value in _leaves(cfg._cfg_dict.to_dict(), ''):
        name = key.rpartition('.')[2]
        if name in _LEAST and value is not None:
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or value < _LEAST[name]:
                raise ValueError(
                    f'{key} must be an integer of {_LEAST[name]} or more, but is '
                    f'{value!r}'
                )
        if name == 'lr' and isinstance(value, (int, float)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f'{key} must be 0 or more, but is {value!r}')


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _leaves(one, f'{key}.{name}' if key else str(name))
    elif isinstance(value, (list, tuple)):
        for index, one in enumerate(value):
            yield from _leaves(one, f'{key}.{index}')
    else:
        yield key, value


def _check_one(cfg: Config, key: str, value: Any) -> None:
    parent: Any = cfg._cfg_dict
    parts = key.split('.')
    for depth, part in enumerate(parts):
        path = '.'.join(parts[:depth])
        if isinstance(parent, (list, tuple)):
            if not part.isdecimal() or int(part) >= len(parent):
                raise ValueError(
                    f'--cfg-options {key}: {path} has the entries 0 to '
                    f'{len(parent) - 1}, but got {part!r}'
                )
            parent = parent[int(part)]
            continue
        if not isinstance(parent, dict):
            if parent is None:
                return  # a setting that is enabled
            raise ValueError(
                f'--cfg-options {key}: {path} is {parent!r:.80}, which has no {part!r}'
            )
        if part not in parent:
            _check_new(cfg, key, parts[:depth], parent, part)
            return
        parent = parent[part]
    _check_kind(cfg, key, parent, value)


def _check_new(cfg: Config, key: str, path: list[str], parent: dict, name: str) -> None:
    """Raise an error if a setting that is not in the config is never read."""
    known = _known_names(cfg, path, parent)
    if known is None:
        close = difflib.get_close_matches(name, map(str, parent), 1, 0.65)
        known = set(close)
        if not close:
            return
    elif name in known:
        return
    close = difflib.get_close_matches(name, sorted({*known, *map(str, parent)}), 1, 0.5)
    nearest = (
        f'; the most similar known key is {".".join([*path, close[0]])}'
        if close
        else ''
    )
    raise ValueError(
        f'--cfg-options {key}: nothing reads {".".join([*path, name])}{nearest}'
    )


def _known_names(cfg: Config, path: list[str], parent: dict) -> set[str] | None:
    """Return the supported keys of a dict; None if any key is supported."""
    if not path:
        return _TOP | set(cfg._cfg_dict)
    if parent.get('type') is not None:
        kind = _find_class(cfg, parent['type'])
        return None if kind is None else _arguments(kind)
    if path[0] in _LOADERS and len(path) == 1:
        from torch.utils.data import DataLoader

        return {*inspect.signature(DataLoader.__init__).parameters, *_OF_LOADERS}
    return _UNTYPED.get(path[0]) if len(path) == 1 else None


def _arguments(kind: Any) -> set[str] | None:
    """Return the argument names of a class; None for arbitrary arguments."""
    names = set(_OF_BUILDERS)
    classes = kind.__mro__ if inspect.isclass(kind) else [kind]
    for one in classes:
        function = one.__dict__.get('__init__') if inspect.isclass(one) else one
        if function is None:
            continue
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return None
        names |= {each.name for each in parameters}
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            return names
    return None


def _registries() -> list:
    from mmengine import registry

    return [
        one
        for name, one in vars(registry).items()
        if name.isupper() and isinstance(one, registry.Registry)
    ]


def _find_class(cfg: Config, kind: Any) -> Any:
    """Return the class of a type in the default scope; None if unknown."""
    if not isinstance(kind, str):
        return kind
    for root in _registries():
        with root.switch_scope_and_registry(cfg.get('default_scope')) as registry:
            try:
                found = registry.get(kind)
            except (ImportError, KeyError):
                found = None
        if found is not None:
            return found
    return None


def _check_kind(cfg: Config, key: str, old: Any, new: Any) -> None:
    """Raise an error if the type of a value differs from that of the replaced value."""
    name = key.rpartition('.')[2]
    if name == 'type' and isinstance(old, str):
        if isinstance(new, str) and _find_class(cfg, new) is not None:
            return
        nearest = _nearest_type(cfg, old, str(new))
        raise ValueError(
            f'--cfg-options {key}: there is no {new!r:.80}'
            + (f'; the most similar known type is {nearest}' if nearest else '')
        )
    number = isinstance(old, (int, float)) and not isinstance(old, bool)
    for fits, wanted in (
        (not number or isinstance(new, (int, float, list, tuple)), 'a number'),
        (not isinstance(old, bool) or isinstance(new, (bool, int)), 'True or False'),
        (not isinstance(old, dict) or isinstance(new, dict), 'settings key=value'),
    ):
        if new is not None and not fits:
            raise ValueError(
                f'--cfg-options {key}: expected {wanted}, such as {old!r:.80}, but '
                f'got {new!r:.80}'
            )


def _nearest_type(cfg: Config, old: str, new: str) -> str | None:
    names: set[str] = set()
    for root in _registries():
        with root.switch_scope_and_registry(cfg.get('default_scope')) as registry:
            if registry.get(old) is not None:
                while registry is not None:
                    names |= set(registry.module_dict)
                    registry = registry.parent
    return next(iter(difflib.get_close_matches(new, sorted(names), 1, 0.5)), None)
