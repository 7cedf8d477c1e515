"""Hook that stops the training at a loss that is NaN or infinite."""

import logging
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmlesion.registry import HOOKS


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop the training when a loss is NaN or infinite, and name the samples.

    MMEngine updates the weights before any hook sees the loss, so the weights in memory
    are already invalid. This hook runs before the hooks that write logs and
    checkpoints, so the last checkpoint on disk remains valid. Samples whose pixels or
    boxes are not finite are reported as the cause. If there are none, all samples of
    the batch are reported.

    With loss scaling (``AmpOptimWrapper``), the scaler detects the infinite gradients
    and skips the step, which leaves the weights unchanged. The hook then only logs a
    warning, unless the data are not finite or more than
    ``max_skipped`` consecutive steps were skipped.

    Args:
        max_skipped: Number of consecutive steps that a loss scaler may skip.
    """

    # Run before RuntimeInfoHook, LoggerHook and CheckpointHook.
    priority = 'HIGHEST'

    def __init__(self, max_skipped: int = 10) -> None:
        self.max_skipped = max_skipped
        self.skipped = 0

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Check the losses of an iteration.

        Args:
            runner: The runner of the training.
            batch_idx: Index of the batch in its epoch.
            data_batch: The batch from the data loader.
            outputs: Losses by name.

        Raises:
            FloatingPointError: If a loss is NaN or infinite and no scaler skips the
                step.
        """
        bad = {
            name: torch.as_tensor(value).tolist()
            for name, value in (outputs or {}).items()
            if not torch.isfinite(torch.as_tensor(value)).all()
        }
        if not bad:
            self.skipped = 0
            return
        losses = ', '.join(f'{name} = {value}' for name, value in bad.items())
        blamed = _non_finite_samples(data_batch)
        self.skipped += 1
        if _scales_loss(runner) and not blamed and self.skipped <= self.max_skipped:
            print_log(
                f'{losses} in epoch {runner.epoch + 1}, iteration {batch_idx + 1}: the '
                'loss scaler skips this step.',
                'current',
                logging.WARNING,
            )
            return
        raise FloatingPointError(
            f'Training stopped in epoch {runner.epoch + 1}, iteration '
            f'{batch_idx + 1}, because {losses}: {_describe(data_batch, blamed)}.'
        )


def _scales_loss(runner: Runner) -> bool:
    """Return whether a loss scaler checks the gradients before each step."""
    wrapper = getattr(runner, 'optim_wrapper', None)
    scaler = getattr(wrapper, 'loss_scaler', None)
    return scaler is not None and scaler.is_enabled()


def _names(data_batch: dict) -> list[str]:
    return [
        str(sample.get('img_path') or sample.get('img_id'))
        for sample in data_batch['data_samples']
    ]


def _non_finite_samples(data_batch: Any) -> list[str]:
    """Describe the samples whose pixels or boxes are not finite."""
    if not isinstance(data_batch, dict) or 'data_samples' not in data_batch:
        return []
    names = _names(data_batch)
    blamed = []
    inputs = data_batch.get('inputs', [None] * len(names))
    for name, pixels, sample in zip(names, inputs, data_batch['data_samples']):
        if pixels is not None and not torch.isfinite(pixels.float()).all():
            blamed.append(f'pixels of {name} are not finite')
        elif not _finite_boxes(sample):
            blamed.append(f'boxes of {name} are not finite')
    return blamed


def _describe(data_batch: Any, blamed: list[str]) -> str:
    if blamed:
        return ', '.join(blamed)
    if not isinstance(data_batch, dict) or 'data_samples' not in data_batch:
        return 'the batch does not name its samples'
    return f'the batch was {", ".join(_names(data_batch))}'


def _finite_boxes(sample: Any) -> bool:
    boxes = getattr(sample.get('gt_instances'), 'bboxes', None)
    if boxes is None:
        return True
    boxes = getattr(boxes, 'tensor', boxes)  # mmdet's box objects wrap a tensor
    return bool(torch.isfinite(boxes).all())
