"""Checkpoint hook that removes old files only after writing new files."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmlesion.registry import HOOKS

#: Message hub key of the files that are replaced by the checkpoint with this hub.
_OUTDATED = 'outdated_checkpoints'
#: Message hub key of the last validated epoch.
_VALIDATED = 'epoch_validated'


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """Write the new checkpoint first, then remove outdated checkpoints.

    MMEngine's hook removes outdated checkpoints first, so that a kill or a full disk
    during the writing leaves a training with ``max_keep_ckpts=1`` without checkpoint.

    If a training was killed between the writing of a checkpoint and the end of the
    validation of that epoch, the validation is repeated on resuming. ``save_best`` and
    the metrics by epoch are therefore the same as in an uninterrupted training.

    :class:`~mmlesion.engine.lesion_runner.LesionRunner` uses this hook wherever a
    config names ``CheckpointHook``. Arguments are those of
    :class:`mmengine.hooks.CheckpointHook`.
    """

    def before_train(self, runner: Runner) -> None:
        """Find the folder and complete an interrupted validation or removal.

        Args:
            runner: The runner of the training.
        """
        super().before_train(runner)
        hub = runner.message_hub
        if not (runner._resume and runner.iter):
            return
        self._ignore_original_files()
        if is_main_process():
            for path in hub.runtime_info.get(_OUTDATED, ()):
                self._remove(self._path_in_work_dir(path))
        loop: Any = runner.train_loop
        if (
            self.by_epoch
            and runner.val_loop is not None
            and hub.runtime_info.get(_VALIDATED) != runner.epoch
            and runner.epoch >= loop.val_begin
            and (
                runner.epoch % loop.val_interval == 0 or runner.epoch == loop.max_epochs
            )
        ):
            runner.logger.info(f'Validating epoch {runner.epoch} before going on.')
            # The state is as in the validation of an uninterrupted run.
            hub.update_info('epoch', runner.epoch - 1)
            runner.val_loop.run()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        with self._delay_removals(runner):
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        runner.message_hub.update_info(_VALIDATED, runner.epoch)
        with self._delay_removals(runner):
            super()._save_best_checkpoint(runner, metrics)

    @contextlib.contextmanager
    def _delay_removals(self, runner: Runner) -> Iterator[None]:
        """Delay removals inside the context until all files are written."""
        if isinstance(self.file_backend, _LateRemoval):
            yield  # the last checkpoint is written again next to the best one
            return
        backend = self.file_backend
        self.file_backend = late = _LateRemoval(backend, runner.message_hub)
        try:
            yield
        finally:
            self.file_backend = backend
        for path in late.paths:
            if path not in (self.last_ckpt, *self._best()):
                self._remove(path)

    def _remove(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)

    def _best(self) -> tuple[str | None, ...]:
        several = getattr(self, 'best_ckpt_path_dict', None) or {}
        return (getattr(self, 'best_ckpt_path', None), *several.values())

    def _path_in_work_dir(self, path: str) -> str:
        return str(self.file_backend.join_path(self.out_dir, os.path.basename(path)))

    def _ignore_original_files(self) -> None:
        """Do not touch the files of the original in a copied work directory."""
        best = getattr(self, 'best_ckpt_path', None)
        if best:
            self.best_ckpt_path = self._path_in_work_dir(best)
        for key, path in (getattr(self, 'best_ckpt_path_dict', None) or {}).items():
            self.best_ckpt_path_dict[key] = path and self._path_in_work_dir(path)


class _LateRemoval:
    """File backend that records removals instead of executing them."""

    def __init__(self, backend: Any, message_hub: Any) -> None:
        self.backend = backend
        self.message_hub = message_hub
        self.paths: list[str] = []
        message_hub.update_info(_OUTDATED, [])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str | os.PathLike[str]) -> None:
        """Record a file, also in the next checkpoint that is written."""
        self.paths.append(os.fspath(path))
        self.message_hub.update_info(_OUTDATED, list(self.paths))
