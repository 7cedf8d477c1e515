"""Fitting of the translation of activation maps during training."""

from typing import Any

import numpy as np
from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmlesion.registry import HOOKS


@HOOKS.register_module()
class MapShiftHook(Hook):
    """Fit ``map_shift_px`` of a :class:`mmlesion.NAMSegmentor` before it is saved.

    After each epoch that is followed by a validation, the hook calls
    :meth:`~mmlesion.models.NAMSegmentor.fit_map_shift` with slices of the training
    data that are labeled positive. No mask is used. Checkpoints that are written after
    the epoch or after its validation contain the result.

    Args:
        num_slices: Number of slices.
        max_side_px: See ``fit_map_shift``.
        seed: Seed of the choice of slices.

    Raises:
        ValueError: If ``num_slices`` is below 1.
    """

    # Before the checkpoint is written.
    priority = 'LOW'

    def __init__(
        self, num_slices: int = 150, max_side_px: int = 64, seed: int = 0
    ) -> None:
        if num_slices < 1:
            raise ValueError(
                f'MapShiftHook: num_slices must be 1 or more, got {num_slices}.'
            )
        self.num_slices = num_slices
        self.max_side_px = max_side_px
        self.seed = seed

    def after_train_epoch(self, runner: Runner) -> None:
        """Fit the translation if the epoch is going to be validated.

        Args:
            runner: The runner of the training.
        """
        loop: Any = runner.train_loop
        epoch = runner.epoch + 1
        if (
            isinstance(loop, EpochBasedTrainLoop)
            and epoch != loop.max_epochs
            and epoch % loop.val_interval
        ):
            return
        model: Any = runner.model
        model = model.module if is_model_wrapper(model) else model
        dataset: Any = loop.dataloader.dataset
        positive = [
            index
            for index in range(len(dataset))
            if dataset.get_data_info(index)['gt_label'] == model.positive
        ]
        rng = np.random.default_rng(self.seed)
        chosen = rng.permutation(positive)[: self.num_slices].tolist()
        used = model.fit_map_shift(
            (dataset[index]['inputs'] for index in chosen), self.max_side_px
        )
        broadcast(model.map_shift_px)
        shift = model.map_shift_px.tolist()
        runner.logger.info(
            f'Shift of the maps, fitted to {used} of {len(chosen)} slices: '
            f'{shift[0]} px'
            + (f', {shift[1]} px (multi-GAP)' if model.multi_gap is not None else '')
        )
