"""Metric of predicted diameters."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mmlesion.ct.recist import box_margin_px, recist
from mmlesion.registry import METRICS

from ..functional.box_iou import box_iou


@METRICS.register_module()
class RECISTMetric(BaseMetric):
    """Error of the predicted long and short diameter of the lesions that are found.

    The prediction of a lesion is the box of the highest score among the boxes whose IoU
    with the lesion is at least ``iou_thr``. If ``pred_instances`` has ``masks``, the
    diameters are those of the mask: the largest distance of two pixel centers of the
    outline, and the longest chord perpendicular to it. Without masks, they are the
    longer and the shorter side of the box, less the margin of DeepLesion's boxes. Sides
    are too short for an oblique lesion, by up to a factor of the square root of 2.

    The metric needs ``instances`` among the metadata of the samples, with ``bbox``,
    ``diameter_px`` and ``diameter_mm`` as by ``DeepLesionDataset``. Instances with
    ``ignore_flag`` are omitted. Boxes, masks and lesions are in the pixels of
    ``ori_shape``.

    The diameter of a mask connects the centers of pixels, as in DeepLesion. In data of
    ``mmlesion prepare scans``, true diameters are the sides of boxes, so that the
    diameters of a perfect mask are up to 1 pixel shorter.

    The metric returns ``long_error_mm`` and ``short_error_mm``, the mean absolute
    errors, ``long_bias_mm`` and ``short_bias_mm``, the mean of predicted minus true
    diameter, and ``found``, the fraction of the lesions that have a prediction. Errors
    are NaN if no lesion is found. Compare errors of two detectors only with ``found``.

    Args:
        iou_thr: Minimum IoU of a prediction and its lesion.
        score_thr: Minimum score of a prediction.
        margin_px: Margin of a box around the ends of the diameters. None for
            ``box_margin_px`` of the data set, or 5.5 as in DeepLesion if the data set
            has no such entry.
        collect_device: ``'cpu'`` or ``'gpu'``, where processes exchange results.
        prefix: Prefix of the returned names, by default ``'recist'``.

    Raises:
        ValueError: If an argument is out of range.
    """

    default_prefix = 'recist'

    def __init__(
        self,
        iou_thr: float = 0.5,
        score_thr: float = 0.0,
        margin_px: float | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not 0 < iou_thr <= 1 or not (margin_px is None or margin_px >= 0):
            raise ValueError(
                'RECISTMetric: iou_thr must be in (0, 1] and margin_px >= 0, got '
                f'{iou_thr} and {margin_px}.'
            )
        self.iou_thr = iou_thr
        self.score_thr = score_thr
        self.margin_px = margin_px

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the difference of the diameters for each lesion.

        Args:
            data_batch: Batch of the data loader.
            data_samples: Samples with predictions.

        Raises:
            ValueError: If a sample has no ``instances``, or a lesion no diameters. The
                message names the image.
        """
        for sample in data_samples:
            name = sample.get('img_path') or f'image {sample.get("img_id")}'
            if 'instances' not in sample or 'pred_instances' not in sample:
                raise ValueError(
                    f"{name}: RECISTMetric needs 'instances' among the meta_keys of "
                    'PackDetInputs, and pred_instances of a detector.'
                )
            found = sample['pred_instances']
            boxes = _array(found['bboxes']).reshape(-1, 4)
            scores = _array(found['scores']).reshape(-1)
            masks = found.get('masks')
            errors: list[tuple[float, float] | None] = []
            for lesion in sample['instances']:
                if lesion.get('ignore_flag', 0):
                    continue
                true_mm, mm_per_px = _true_diameters(lesion, name)
                overlap = box_iou(boxes, [lesion['bbox']])[:, 0]
                fits = (overlap >= self.iou_thr) & (scores >= self.score_thr)
                if not fits.any():
                    errors.append(None)
                    continue
                best = int(np.argmax(np.where(fits, scores, -np.inf)))
                mask = None if masks is None else _array(masks[best])
                predicted_px = self._diameters(boxes[best], mask)
                long, short = (predicted_px * mm_per_px - true_mm).tolist()
                errors.append((long, short))
            # One result per sample: MMEngine keeps as many results as samples.
            self.results.append(errors)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the means over all lesions.

        Args:
            results: Results of :meth:`process`.

        Returns:
            Errors in mm and the fraction of the lesions that are found.
        """
        lesions = [error for errors in results for error in errors]
        errors = np.array([error for error in lesions if error is not None], float)
        names = ('long_error_mm', 'short_error_mm', 'long_bias_mm', 'short_bias_mm')
        if len(errors):
            values = [*np.abs(errors).mean(0).tolist(), *errors.mean(0).tolist()]
        else:
            values = [float('nan')] * len(names)
        part = len(errors) / len(lesions) if lesions else float('nan')
        return dict(zip(names, values), found=part)

    def _diameters(self, box: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Return the long and the short diameter of a prediction in pixels."""
        if mask is not None:
            if not mask.any():
                return np.zeros(2)
            measured = recist(mask)
            return np.array([measured.long_px, measured.short_px])
        margin = self.margin_px
        if margin is None:
            margin = box_margin_px(self.dataset_meta)
        sides = np.sort(box[2:] - box[:2])[::-1] - 2 * margin
        return np.maximum(sides, 0)


def _true_diameters(lesion: dict, name: str) -> tuple[np.ndarray, float]:
    """Return the diameters of a lesion in mm, and the size of a pixel in mm."""
    if lesion.get('diameter_mm') is None or lesion.get('diameter_px') is None:
        raise ValueError(
            f"{name}: RECISTMetric needs 'diameter_mm' and 'diameter_px' of each "
            'lesion, as DeepLesionDataset gives.'
        )
    true_mm = np.asarray(lesion['diameter_mm'], float)
    true_px = np.asarray(lesion['diameter_px'], float)
    if true_mm.shape != (2,) or true_px.shape != (2,) or not true_px[0] > 0:
        raise ValueError(
            f'{name}: diameters must be a long diameter > 0 and a short diameter, got '
            f'{lesion["diameter_mm"]} mm and {lesion["diameter_px"]} pixels.'
        )
    return true_mm, float(true_mm[0] / true_px[0])


def _array(values: Any) -> np.ndarray:
    """Return a float64 array of a tensor, of mmdet's boxes or of numbers."""
    values = getattr(values, 'tensor', values)  # HorizontalBoxes
    if hasattr(values, 'detach'):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)
