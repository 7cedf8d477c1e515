"""Figures 2 and 3 of Feng et al. for a test of slices."""

from pathlib import Path

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mmlesion.evaluation.functional import scores_by_size
from mmlesion.evaluation.metrics import NoduleSegmentationMetric, scores_of
from mmlesion.registry import HOOKS
from mmlesion.visualization import draw_size_curves, nodule_panels, write_picture


@HOOKS.register_module()
class NoduleFigureHook(Hook):
    """Draw what a test segmented: slices step by step, and Dice by size.

    For each chosen slice ``<img_id>.png`` (:func:`nodule_panels`, of what the model
    gives: ``map``, ``scope``, ``coarse_mask``, ``fine_mask``), and after the test, of
    every ``NoduleSegmentationMetric``, ``nodule_size.png``
    (:func:`draw_size_curves`).

    Args:
        out_dir (str, optional): Folder of the figures. Defaults to ``nodules`` in
            the work directory.
        images (int or Sequence[str]): The first so many slices with a nodule, or
            slices by ``img_id``.
        edges_mm (Sequence[float]): Bounds of the diameters in ``nodule_size.png``.
    """

    def __init__(self, out_dir=None, images=12, edges_mm=(3, 6, 9, 12, 15, 20, 30)):
        self.out_dir = out_dir and Path(out_dir)
        # Of several processes, the first one draws the first slices, and each the
        # named ones that it meets.
        self.first = images if isinstance(images, int) and is_main_process() else 0
        self.wanted = set() if isinstance(images, int) else set(images)
        self.edges_mm = tuple(edges_mm)

    def before_test(self, runner):
        """Choose the folder."""
        self.out_dir = self.out_dir or Path(runner.work_dir) / 'nodules'

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Draw those of the batch's slices that were chosen.

        Args:
            runner (Runner): The runner of the test.
            batch_idx (int): Index of the batch.
            data_batch (dict, optional): As the data loader gave it.
            outputs (list[DataSample], optional): The predictions.
        """
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

    def after_test_epoch(self, runner, metrics=None):
        """Draw Dice and difference of areas by size.

        Args:
            runner (Runner): The runner of the test.
            metrics (dict, optional): Not used: they hold no slices.
        """
        for metric in runner.test_evaluator.metrics:
            if isinstance(metric, NoduleSegmentationMetric) and metric.rows:
                names = dict.fromkeys(row['segmentation'] for row in metric.rows)
                draw_size_curves(
                    {
                        name: scores_by_size(
                            scores_of(metric.rows, name), self.edges_mm
                        )
                        for name in names
                    },
                    self.out_dir / 'nodule_size.png',
                )
                runner.logger.info(f'Figures of nodules in {self.out_dir}')


def _plane(values):
    """(H, W) of a tensor or array, None of nothing."""
    if values is None:
        return None
    if hasattr(values, 'detach'):
        values = values.detach().float().cpu().numpy()
    values = np.asarray(values)
    return values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
