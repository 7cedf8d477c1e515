"""Hook that draws Figures 2 and 3 of Feng et al. for test slices."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlesion.evaluation.functional import scores_by_size
from mmlesion.evaluation.metrics import NoduleSegmentationMetric, slice_scores
from mmlesion.registry import HOOKS
from mmlesion.visualization import draw_size_curves, nodule_panels, write_picture


@HOOKS.register_module()
class NoduleFigureHook(Hook):
    """Draw the steps of the segmentation of test slices, and Dice by nodule size.

    The hook writes ``<img_id>.png`` for each selected slice (:func:`nodule_panels`,
    with ``map``, ``scope``, ``coarse_mask`` and ``fine_mask`` of the prediction). After
    the test, it writes ``nodule_size.png`` (:func:`draw_size_curves`) for every
    ``NoduleSegmentationMetric``.

    Args:
        out_dir: Folder of the figures. Defaults to ``nodules`` in the work directory.
        images: Number of slices with a nodule, taken from the start of the test, or
            ``img_id`` of slices.
        edges_mm: Boundaries of the diameter bins in ``nodule_size.png``.
    """

    def __init__(
        self,
        out_dir: str | Path | None = None,
        images: int | Sequence[str] = 12,
        edges_mm: Sequence[float] = (3, 6, 9, 12, 15, 20, 30),
    ) -> None:
        self.out_dir = Path(out_dir) if out_dir else None
        # The main process draws the first slices. Every process draws the selected
        # slices of its subset of the data.
        self.first = images if isinstance(images, int) and is_main_process() else 0
        self.wanted = set() if isinstance(images, int) else set(images)
        self.edges_mm = tuple(edges_mm)

    def before_test(self, runner: Runner) -> None:
        """Determine the output folder."""
        self.out_dir = self.out_dir or Path(runner.work_dir) / 'nodules'

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Draw the selected slices of a batch.

        Args:
            runner: The runner of the test.
            batch_idx: Index of the batch.
            data_batch: The batch of the data loader.
            outputs: Data samples with predictions.
        """
        assert self.out_dir is not None
        for image, sample in zip(data_batch['inputs'], outputs):
            name = sample.img_id
            if name not in self.wanted:
                if self.first <= 0 or not sample.mask.any():
                    continue
                self.first -= 1
            fields = {
                key: _plane(sample.get(source))
                for key, source in (
                    ('truth', 'mask'),
                    ('activation_map', 'map'),
                    ('scope', 'scope'),
                    ('coarse', 'coarse_mask'),
                    ('fine', 'fine_mask'),
                )
            }
            write_picture(
                self.out_dir / f'{name}.png', nodule_panels(_plane(image[0]), **fields)
            )

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Draw Dice and area difference by nodule size.

        Args:
            runner: The runner of the test.
            metrics: Not used.
        """
        assert self.out_dir is not None
        evaluator: Any = runner.test_evaluator
        for metric in evaluator.metrics:
            if isinstance(metric, NoduleSegmentationMetric) and metric.rows:
                names = dict.fromkeys(row['segmentation'] for row in metric.rows)
                draw_size_curves(
                    {
                        name: scores_by_size(
                            slice_scores(metric.rows, name), self.edges_mm
                        )
                        for name in names
                    },
                    self.out_dir / 'nodule_size.png',
                )
                runner.logger.info(f'Figures of nodules in {self.out_dir}')


def _plane(values: Any) -> Any:
    """Return the plane (H, W) of a tensor or array, or None for None."""
    if values is None:
        return None
    if hasattr(values, 'detach'):
        values = values.detach().float().cpu().numpy()
    values = np.asarray(values)
    return values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
