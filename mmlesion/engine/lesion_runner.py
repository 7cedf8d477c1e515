"""MMEngine runner with safe reading and atomic writing of checkpoints."""

import atexit
import os
import re
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from logging import Logger
from typing import Any, cast
from urllib.error import URLError

import torch
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MMLogger
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from mmengine.runner.priority import Priority
from torch import nn

from mmlesion.files import PARTIAL_SUFFIX
from mmlesion.registry import RUNNERS

from .checkpoint import read_checkpoint, trust_checkpoints
from .console import SetUpFilter, hide_set_up, log_file_of
from .hooks.atomic_checkpoint_hook import AtomicCheckpointHook
from .latest_checkpoint import find_newest_checkpoint
from .partial_weights import load_partially


@RUNNERS.register_module()
class LesionRunner(Runner):
    """Runner that executes no code from checkpoints and writes them atomically.

    MMDetection's own ``tools/train.py`` uses it with
    ``runner_type='mmlesion.LesionRunner'`` in the config.

    It differs from :class:`mmengine.runner.Runner` as follows:

    - Checkpoints, including those of ``init_cfg``, are read by
      :func:`~mmlesion.engine.checkpoint.read_checkpoint`. Code in them is executed only
      if the config has ``trust_checkpoint=True``.
    - For testing and resuming, keys and shapes must match the model exactly.
      (MMEngine only warns and continues with untrained layers.) The
      ``load_from`` checkpoint of a new training may match partially.
    - A checkpoint is written to a temporary file, flushed to disk and
      renamed. Outdated checkpoints are removed afterward
      (:class:`~mmlesion.engine.hooks.AtomicCheckpointHook` replaces
      MMEngine's ``CheckpointHook``). Resuming without a file name uses the
      newest readable checkpoint.
    - Several processes can run without a GPU. MMEngine's launcher requires a GPU
      even with ``backend='gloo'``.
    - The description of the setup (environment, config, hooks) is written only to the
      log file.
    """

    #: Whether the checkpoint must fit the model exactly; set by test() and resume().
    exact_checkpoint = False
    _held: SetUpFilter | None = None

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """Build the logger. During setup, the console shows only warnings.

        Args:
            log_level: As in MMEngine.
            log_file: As in MMEngine.
            **kwargs: As in MMEngine.
        """
        logger = super().build_logger(log_level, log_file, **kwargs)
        self._held = hide_set_up(logger)
        return logger

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call the hooks. After ``before_run``, the console shows all messages.

        Args:
            fn_name: Name of the method of the hooks.
            **kwargs: Arguments of the method.
        """
        super().call_hook(fn_name, **kwargs)
        if fn_name == 'before_run' and self._held is not None:
            self._held.active = False
            self.logger.info(
                f'Environment, config and hooks: {log_file_of(self.logger)}'
            )

    def setup_env(self, env_cfg: dict) -> None:
        """Set up the environment, with the gloo backend on CPUs.

        Args:
            env_cfg: As MMEngine's.
        """
        if (
            self.distributed
            and self.launcher == 'pytorch'
            and not is_distributed()
            and get_device() == 'cpu'
        ):
            torch.distributed.init_process_group('gloo')
            # Its threads must end before Python exits. Otherwise, the process aborts.
            atexit.register(_leave_process_group)
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap the model for several processes, without device ids on CPUs.

        Args:
            model_wrapper_cfg: As MMEngine's.
            model: The model.

        Returns:
            The model or its wrapper.
        """
        if (
            model_wrapper_cfg is None
            and self.distributed
            and get_device() == 'cpu'
            and not is_model_wrapper(model)
        ):
            model_wrapper_cfg = dict(
                device_ids=None,
                broadcast_buffers=False,
                find_unused_parameters=self.cfg.get('find_unused_parameters', False),
            )
        return super().wrap_model(model_wrapper_cfg, model)

    @staticmethod
    def build_dataloader(dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        """Build a data loader with at least one batch.

        Args:
            dataloader: As MMEngine's.
            *args: As MMEngine's.
            **kwargs: As MMEngine's.

        Returns:
            The data loader.

        Raises:
            ValueError: If ``drop_last`` leaves no batch. Such a training would save
                weights without a single step.
        """
        loader = Runner.build_dataloader(dataloader, *args, **kwargs)
        samples = len(cast(Sized, loader.dataset))
        if samples and not len(loader):
            raise ValueError(
                f'batch_size is {dataloader["batch_size"]}, but the data set has '
                f'{samples} samples; expected a smaller batch, or drop_last=False'
            )
        return loader

    @property
    def trust_checkpoint(self) -> bool:
        """Whether checkpoints may execute code."""
        return bool(self.cfg.get('trust_checkpoint', False))

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model, with safe reading because constructors may load weights.

        Args:
            model: The model or its config.
        """
        with trust_checkpoints(self.trust_checkpoint):
            return super().build_model(model)

    def register_hook(
        self, hook: Hook | dict, priority: str | int | Priority | None = None
    ) -> None:
        """Register a hook, and replace MMEngine's ``CheckpointHook``.

        Args:
            hook: The hook or its config.
            priority: As MMEngine's.
        """
        if isinstance(hook, dict) and hook.get('type') in _HOST_HOOKS:
            hook = dict(hook, type=AtomicCheckpointHook)
        super().register_hook(hook, priority)

    def train(self) -> nn.Module:
        """Train and return the model."""
        with trust_checkpoints(self.trust_checkpoint):
            return super().train()

    def load_or_resume(self) -> None:
        """Load or resume, by default from the newest readable checkpoint.

        Raises:
            ValueError: If no checkpoint of the work directory can be read, or the
                checkpoint is refused.
        """
        if self._has_loaded or not self._resume or self._load_from is not None:
            super().load_or_resume()
            return
        newest = find_newest_checkpoint(self.work_dir, self.logger)
        self.logger.info(f'Resuming from {newest or "the beginning"}.')
        if newest is not None:
            self.resume(newest)
            self._has_loaded = True

    def save_checkpoint(
        self, out_dir: str, filename: str, *args: Any, **kwargs: Any
    ) -> None:
        """Write a checkpoint atomically.

        Args:
            out_dir: Folder.
            filename: Name of the file.
            *args: As MMEngine's.
            **kwargs: As MMEngine's.

        Raises:
            OSError: If the disk is full or not writable. An existing file with
                this name remains unchanged.
        """
        if '://' in str(out_dir):  # an object store, which cannot rename files
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        os.makedirs(out_dir, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(PARTIAL_SUFFIX, f'{filename}.', out_dir)
        try:
            os.chmod(partial, 0o644)  # mkstemp gives access to the owner only
            super().save_checkpoint(out_dir, os.path.basename(partial), *args, **kwargs)
            os.fsync(descriptor)
            os.replace(partial, os.path.join(out_dir, filename))
        except BaseException as error:
            if os.path.exists(partial):
                os.remove(partial)
            if isinstance(error, OSError):
                raise OSError(
                    error.errno,
                    f'checkpoint {os.path.join(out_dir, filename)} could not be '
                    f'written ({error.strerror or error}); earlier ones are kept',
                ) from error
            raise
        finally:
            os.close(descriptor)

    def _init_model_weights(self) -> None:
        """Initialize the model, with published weights if the config contains them.

        Raises:
            OSError: If weights could not be downloaded. The message suggests a
                solution.
        """
        try:
            super()._init_model_weights()
        except URLError as error:
            names = '; '.join(
                f'{key}={address}'
                for key, address in _downloads(self.cfg.model, 'model')
            )
            raise OSError(
                f'Weights could not be downloaded ({error.reason}): {names}; '
                'fetch the file elsewhere and name it by --cfg-options '
                '<that key>=FILE, or start from random weights by setting '
                'its init_cfg=None.'
            ) from error

    def test(self) -> dict:
        """Test with a checkpoint of exactly this model.

        Returns:
            The metrics by name.

        Raises:
            ValueError: If the checkpoint belongs to another model.
        """
        self.exact_checkpoint = True
        with trust_checkpoints(self.trust_checkpoint):
            return super().test()

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resume from a checkpoint of exactly this model.

        Args:
            filename: The checkpoint.
            *args: As MMEngine's.
            **kwargs: As MMEngine's.

        Raises:
            ValueError: If the checkpoint belongs to another model, or contains only
                weights.
        """
        self.exact_checkpoint = True
        try:
            super().resume(filename, *args, **kwargs)
        except KeyError as error:
            raise ValueError(
                f'Checkpoint {filename} cannot be resumed from: it has no '
                f'{error}, which a checkpoint written by a training has.'
            ) from error

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = 'cpu',
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = ((r'^module.', ''),),
    ) -> dict:
        """Load a checkpoint into the model.

        Args:
            filename: A local file, or an ``http(s)://`` address.
            map_location: As :func:`torch.load`.
            strict: Whether keys and shapes must match the model exactly.
            revise_keys: Pairs (pattern, replacement) applied to the keys.

        Returns:
            The checkpoint.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If the file would execute code or is not a checkpoint, or if an
                exact match is required and the file belongs to another model.
        """
        strict = strict or self.exact_checkpoint
        checkpoint = read_checkpoint(
            filename, map_location, trust=self.trust_checkpoint
        )
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        model: Any = self.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        state_dict = _rename_keys(checkpoint.get('state_dict', checkpoint), revise_keys)
        _load(model, state_dict, filename, strict, self.logger)
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint


# Names of MMEngine's hook in configs.
_HOST_HOOKS = ('CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook)


def load_exactly(model: nn.Module, checkpoint: Mapping, filename: str) -> None:
    """Load the weights of exactly this model, without a runner.

    Args:
        model: The model.
        checkpoint: From :func:`~mmlesion.engine.checkpoint.read_checkpoint`.
        filename: Name of the checkpoint in error messages.

    Raises:
        ValueError: If the checkpoint belongs to another model.
    """
    state_dict = _rename_keys(
        checkpoint.get('state_dict', checkpoint), ((r'^module.', ''),)
    )
    _load(model, state_dict, filename, True, None)


def _leave_process_group() -> None:
    if is_distributed():
        torch.distributed.destroy_process_group()


def _downloads(cfg: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield keys and addresses of the weights in a config that are not local files."""
    if isinstance(cfg, dict):
        for name, value in cfg.items():
            if name == 'checkpoint' and '://' in str(value):
                yield f'{key}.{name}', value
            yield from _downloads(value, f'{key}.{name}')
    elif isinstance(cfg, (list, tuple)):
        for index, value in enumerate(cfg):
            yield from _downloads(value, f'{key}.{index}')


def _rename_keys(state_dict: Any, revise_keys: Sequence[tuple[str, str]]) -> Any:
    """Rename the keys and keep the module versions in ``_metadata``."""
    revised: Any = OrderedDict()
    for key, value in state_dict.items():
        for pattern, replacement in revise_keys:
            key = re.sub(pattern, replacement, key)
        revised[key] = value
    if hasattr(state_dict, '_metadata'):
        revised._metadata = state_dict._metadata
    return revised


def _load(
    model: nn.Module,
    state_dict: Mapping,
    filename: str,
    strict: bool,
    logger: Logger | None,
) -> None:
    if not strict:
        load_partially(model, state_dict, filename, logger)
        return
    try:
        model.load_state_dict(state_dict, strict=True)
    except (RuntimeError, AttributeError) as error:
        raise ValueError(
            f'Checkpoint {filename} belongs to another model: '
            f'{_difference(model.state_dict(), state_dict)}.'
        ) from error


def _difference(expected: Mapping, found: Mapping) -> str:
    """Return numbers and examples of the keys in which two state dicts differ."""

    def shape(value: Any) -> tuple:
        return tuple(getattr(value, 'shape', ()))

    wrong = [
        key
        for key in expected
        if key in found and shape(expected[key]) != shape(found[key])
    ]
    parts = []
    for what, keys in (
        ('missing', [k for k in expected if k not in found]),
        ('unexpected', [k for k in found if k not in expected]),
        ('of another shape', wrong),
    ):
        if keys:
            names = ', '.join(keys[:2]) + (', ...' if len(keys) > 2 else '')
            noun = 'key' if len(keys) == 1 else 'keys'
            parts.append(f'{len(keys)} {noun} {what} ({names})')
    if wrong:
        key = wrong[0]
        parts[-1] += (
            f', {key} being {shape(found[key])} instead of {shape(expected[key])}'
        )
    return '; '.join(parts) or 'its values are not tensors'
