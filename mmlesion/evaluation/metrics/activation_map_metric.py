"""Metric for the localization by activation maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import get_dist_info
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from mmlesion.deprecation import old_arguments
from mmlesion.files import plain_table, write_json
from mmlesion.registry import METRICS

from ..functional import ActivationMapScores, boxes_to_mask
from .lesion_mask import as_array, lesion_mask


@METRICS.register_module()
class ActivationMapMetric(BaseMetric):
    """Localization measures of activation maps by pixel and by lesion.

    Each data sample has a map and lesions. The lesions are, in this order, a mask
    (``mask_key``; see ``planes`` for a mask with channels),
    ``instances`` of the meta information (``bbox`` in pixels of the original
    image, scaled by ``scale_factor`` if given, otherwise by ``img_shape`` over
    ``ori_shape``), or ``gt_instances.bboxes`` (pixels of the network's input).
    Boxes become circles, as in the paper. Instances with ``ignore_flag`` are omitted.

    The metric returns the numbers of
    :meth:`mmlesion.evaluation.functional.ActivationMapScores.compute`: AUPRC over
    all pixels and as mean over the images, with the prevalence, which is the AUPRC of
    random guessing; AUROC; Dice and IoU at the given and at the best threshold;
    pointing game, energy inside the mask, and hit rate of lesions. ``save_best=
    'map/auprc_mean'`` keeps the best checkpoint.

    Memory does not grow with the number of images, and processes exchange one
    histogram each. Images that the sampler repeats to give every process the same
    number are counted once. This assumes the sample order of MMEngine (image
    ``r + k * world_size`` is the k-th image of process r).

    To compare several methods, use one metric per method with its own ``map_key`` and
    ``prefix``.

    Args:
        threshold: Minimum value of a marked pixel for Dice, IoU and the hit rate.
        normalize: ``'none'`` uses the maps unchanged; ``'image'`` scales each map to
            0..1, as in the paper.
        tolerance_px: Maximum distance of a peak from a lesion that it hits, in pixels.
        with_empty: Whether to include images without a lesion in the pooled numbers. By
            default they are omitted, as in the paper.
        form: Shape of a lesion inside its box: ``'circle'``, ``'ellipse'`` or
            ``'box'``.
        resize: ``'bilinear'`` resizes maps to the size of the mask, or of the network's
            input for boxes. By default, a different size is an error.
        num_bins: Number of bins of the histogram, see
            :class:`mmlesion.evaluation.functional.PixelHistogram`.
        planes: Slices of a mask with channels to evaluate. ``'middle'`` uses the middle
            slice, which is the key slice. ``'each'`` uses each slice as an image, which
            is compared with the one map of all slices. A map with channels is handled
            in the same way.
        map_key: Key of the map in the data sample.
        mask_key: Key of the mask in the data sample.
        outfile_prefix: Write all numbers to ``<outfile_prefix>.maps.json``.
        collect_device: Device on which processes exchange results, ``'cpu'`` or
            ``'gpu'``.
        prefix: Prefix of the returned names, ``'map'`` by default.

    Shape:
        - map: (H, W), (1, H, W) or (H, W, C), float
        - mask: (H, W) or (H, W, C), bool, or 0 outside of lesions

    Raises:
        ValueError: If a sample has no map, or neither mask nor boxes; if the sizes of
            map and mask differ; or if a value is not finite. The message names the
            image.
    """

    default_prefix = 'map'

    @old_arguments(normalise='normalize')
    def __init__(
        self,
        threshold: float = 0.5,
        normalize: str = 'none',
        tolerance_px: float = 0,
        with_empty: bool = False,
        form: str = 'circle',
        resize: str | None = None,
        num_bins: int = 2**20,
        planes: str = 'middle',
        map_key: str = 'activation_map',
        mask_key: str = 'gt_mask',
        outfile_prefix: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if resize not in (None, 'bilinear'):
            raise ValueError(
                f"ActivationMapMetric: resize must be 'bilinear' or None, got "
                f'{resize!r}.'
            )
        if planes not in ('middle', 'each'):
            raise ValueError(
                f"ActivationMapMetric: planes must be 'middle' or 'each', got "
                f'{planes!r}.'
            )
        boxes_to_mask([], (1, 1), form)  # raises an error if the form is unknown
        self.settings: dict[str, Any] = dict(
            threshold=threshold,
            normalize=normalize,
            tolerance_px=tolerance_px,
            with_empty=with_empty,
            num_bins=num_bins,
        )
        self.form = form
        self.resize = resize
        self.planes = planes
        self.map_key = map_key
        self.mask_key = mask_key
        self.outfile_prefix = outfile_prefix
        self._restart()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Add the maps of a batch."""
        for sample in data_samples:
            name = sample.get('img_path') or f'image {sample.get("img_id")}'
            if sample.get(self.map_key) is None:
                raise ValueError(
                    f"{name}: ActivationMapMetric needs '{self.map_key}', an array "
                    '(H, W) that the model or a hook puts into the data sample.'
                )
            activation = as_array(sample[self.map_key]).astype(np.float32)
            if activation.ndim == 3 and len(activation) == 1:
                activation = activation[0]
            mask = lesion_mask(
                sample, activation.shape[:2], name, self.mask_key, self.form
            )
            if activation.ndim != 2 and activation.shape != mask.shape:
                raise ValueError(
                    f"{name}: '{self.map_key}' has shape {activation.shape}; "
                    'expected one map, (H, W), or one for each slice of the mask.'
                )
            if not np.isfinite(activation).all():
                raise ValueError(
                    f"{name}: '{self.map_key}' has a value that is NaN or infinite."
                )
            maps, masks = self._planes_of(activation), self._planes_of(mask)
            if len(maps) == 1:
                maps = maps * len(masks)
            pairs = [
                (
                    one
                    if one.shape == inside.shape
                    else self._resized(one, inside.shape, name),
                    inside,
                )
                for one, inside in zip(maps, masks)
            ]
            # The last image of a process may be a repetition by the sampler, which
            # only `evaluate` can detect.
            self._take_pending()
            self._pending = pairs
            self._num_seen += 1

    def evaluate(self, size: int) -> dict:
        """Add the sums of all processes and compute the measures.

        Args:
            size: Number of images of the data set.

        Returns:
            Measures by name with the prefix.
        """
        rank, world_size = get_dist_info()
        if rank + (self._num_seen - 1) * world_size < size:
            self._take_pending()
        # Each process has one result, even if it had no image.
        self.results = [self._scores]
        self._restart()
        return super().evaluate(world_size)

    def compute_metrics(self, results: list) -> dict:
        """Add the sums of the processes, then log and write the measures."""
        total = results[0]
        for part in results[1:]:
            total = total + part
        numbers = total.compute()
        self._log(numbers)
        if self.outfile_prefix:
            self._write(numbers)
        return numbers

    def _restart(self) -> None:
        self._scores = ActivationMapScores(**self.settings)
        self._pending = []
        self._num_seen = 0

    def _take_pending(self) -> None:
        for pair in self._pending:
            self._scores.update(*pair)
        self._pending = []

    def _planes_of(self, array: np.ndarray) -> list:
        """Return the slices to evaluate, (H, W) each."""
        if array.ndim == 2:
            return [array]
        if self.planes == 'each':
            return list(np.moveaxis(array, 2, 0))
        return [array[..., array.shape[2] // 2]]

    def _resized(
        self, activation: np.ndarray, shape: Sequence[int], name: str
    ) -> np.ndarray:
        """Resize a map to the size of its mask."""
        if self.resize is None:
            raise ValueError(
                f'{name}: the map is {_size(activation.shape)} and its mask '
                f"{_size(shape)} pixels; expected the same, or resize='bilinear'."
            )
        resized = F.interpolate(
            torch.from_numpy(activation)[None, None],
            size=shape,
            mode=self.resize,
            align_corners=False,
        )
        return resized[0, 0].numpy()

    def _log(self, numbers: dict) -> None:
        """Log pooled numbers and means over images side by side."""

        def percent(name):
            return f'{100 * numbers[name]:.2f}'

        rows = [('', 'all pixels', 'mean of images', 'deviation')]
        for title, name in (
            ('AUPRC', 'auprc'),
            ('prevalence (guessing)', 'prevalence'),
            ('AUROC', 'auroc'),
            (f'Dice at {self.settings["threshold"]:g}', 'dice'),
            (f'IoU at {self.settings["threshold"]:g}', 'iou'),
            ('Dice at the best threshold', 'dice_best'),
            ('IoU at the best threshold', 'iou_best'),
            ('lesions hit', 'hit_rate'),
            ('pointing game', 'pointing_game'),
            ('energy inside', 'energy_inside'),
        ):
            pooled = f'{name}_pooled'
            rows.append(
                (
                    title,
                    percent(pooled) if pooled in numbers else '-',
                    percent(f'{name}_mean'),
                    percent(f'{name}_std'),
                )
            )
        lines = plain_table(rows)
        lines.insert(
            0,
            (
                f'{self.map_key} (%): {numbers["num_images"]} images with '
                f'{numbers["num_lesions"]} lesions, {numbers["num_skipped"]} without '
                'lesions omitted'
            ),
        )
        lines.append(
            f'false spots an image: {numbers["false_spots_per_image"]:.2f}; best '
            f'threshold of all pixels: {numbers["best_threshold"]:.6g}'
        )
        MMLogger.get_current_instance().info('\n'.join(['', *lines]))

    def _write(self, numbers: dict) -> None:
        path = Path(f'{self.outfile_prefix}.maps.json')
        settings = dict(
            self.settings, form=self.form, resize=self.resize, planes=self.planes
        )
        write_json(path, dict(settings=settings, numbers=numbers), indent=2)
        MMLogger.get_current_instance().info(f'Numbers of the maps in {path}')


def _size(shape: Sequence[int]) -> str:
    return ' x '.join(str(side) for side in shape)
