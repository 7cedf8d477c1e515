"""FROC metric of MMEngine."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from mmlesion.files import plain_table, write_json
from mmlesion.registry import METRICS

from ..functional import (
    FROCCurve,
    FROCMatches,
    bootstrap_froc,
    deeplesion_subgroups,
    match_boxes,
    percentile_interval,
)

#: Keys of a lesion that define subgroups.
LESION_KEYS = ('lesion_type', 'diameter_mm')


@METRICS.register_module()
class FROCMetric(BaseMetric):
    """Sensitivity at given false positives per image, the measure of DeepLesion.

    The metric reads ``pred_instances`` (``bboxes``, ``scores``, ``labels``) of each
    data sample and its lesions: ``instances`` of the metadata, or without these
    ``gt_instances.bboxes``. Both are in the pixels of ``ori_shape``, for a cropped
    slice in the pixels of the crop: sensitivity does not depend on the origin.
    Instances with ``ignore_flag`` are omitted.

    The metric returns ``sens@0.5``, ``sens@1``, ... and ``mean_0.5_4``, the mean over
    ``mean_fps``. All are in [0, 1], and higher is better. They are 0 without boxes and
    NaN without lesions. ``save_best='froc/sens@4'`` keeps the best checkpoint.

    The log also contains the subgroups of Table 2 of the paper, if the instances have
    ``lesion_type`` and ``diameter_mm`` and the metadata ``interval_mm``, and bootstrap
    intervals over ``patient``. In a subgroup, only its own lesions are counted, but all
    images and all boxes are used: a box on a lesion of another subgroup is a false
    positive, as in 3DCE.

    A warning is logged if the curve ends before the largest of ``fps`` and
    ``mean_fps``. This happens if the detector drops boxes by a score threshold or a
    maximum number of boxes (0.05 and 100 in most configs of mmdet). The sensitivity
    after the end is that of the end, so it is too low.

    Args:
        fps: False positives per image at which the sensitivity is reported.
        mean_fps: False positives per image of the reported mean.
        subgroup_fps: False positives per image for the subgroups, 4 in the paper.
        iou_thr: Minimum IoU of a hit.
        plus_one: Whether the sides of a box are ``x2 - x1 + 1`` pixels, for data sets
            whose corners are the first and the last pixel of a box.
        label: Use only boxes and lesions with this label. By default, all labels are
            lesions.
        others: How to count a box on a lesion of another subgroup, ``'fp'`` or
            ``'ignore'``.
        legacy: Extrapolate the curve as in the authors' code; see
            :meth:`mmlesion.evaluation.functional.FROCCurve.sensitivity_at`.
        num_resamples: Number of bootstrap resamples; 0 for no intervals.
        confidence: Confidence level of the intervals.
        seed: Random seed of the bootstrap.
        outfile_prefix: Write all numbers and the whole curve to
            ``<outfile_prefix>.froc.json``.
        collect_device: ``'cpu'`` or ``'gpu'``, where processes exchange results.
        prefix: Prefix of the returned names, by default ``'froc'``.

    Attributes:
        matches: Boxes and lesions of the last evaluation; None before.
        patients: Patient of each image of the last evaluation. Shape (N,).

    Raises:
        ValueError: If an argument is out of range, or if a box or score is NaN or
            infinite. The message names the image.
    """

    default_prefix = 'froc'

    def __init__(
        self,
        fps: Sequence[float] = (0.5, 1, 2, 4, 8, 16),
        mean_fps: Sequence[float] = (0.5, 1, 2, 4),
        subgroup_fps: float = 4,
        iou_thr: float = 0.5,
        plus_one: bool = False,
        label: int | None = None,
        others: str = 'fp',
        legacy: bool = False,
        num_resamples: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
        outfile_prefix: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if (
            not fps
            or not mean_fps
            or not all(fp >= 0 for fp in (*fps, *mean_fps, subgroup_fps))
        ):
            raise ValueError(
                'FROCMetric: fps, mean_fps and subgroup_fps must be numbers >= 0, '
                f'got {fps!r}, {mean_fps!r} and {subgroup_fps!r}.'
            )
        if others not in ('fp', 'ignore'):
            raise ValueError(
                f"FROCMetric: others must be 'fp' or 'ignore', got {others!r}."
            )
        self.fps = list(fps)
        self.mean_fps = list(mean_fps)
        self.subgroup_fps = subgroup_fps
        self.iou_thr = iou_thr
        self.plus_one = plus_one
        self.label = label
        self.others = others
        self.legacy = legacy
        self.num_resamples = num_resamples
        self.confidence = confidence
        self.seed = seed
        self.outfile_prefix = outfile_prefix
        self.matches: FROCMatches | None = None
        self.patients = np.zeros(0, str)
        self.curve: FROCCurve | None = None
        self.report: dict[str, Any] | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the boxes, scores and lesions of each sample.

        Args:
            data_batch: Batch of the data loader.
            data_samples: Samples with predictions.

        Raises:
            ValueError: If a sample has no predictions or no lesions, or a box or score
                is NaN or infinite.
        """
        for sample in data_samples:
            name = sample.get('img_path') or f'image {sample.get("img_id")}'
            if 'pred_instances' not in sample:
                raise ValueError(
                    f'{name}: FROCMetric needs pred_instances, as mmdet detectors '
                    'give in predict.'
                )
            predicted = sample['pred_instances']
            boxes = _array(predicted['bboxes']).reshape(-1, 4)
            scores = _array(predicted['scores']).reshape(-1)
            if self.label is not None:
                kept = _array(predicted['labels']) == self.label
                boxes, scores = boxes[kept], scores[kept]
            if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
                raise ValueError(
                    f'{name}: predicted boxes and scores must be finite; NaN or '
                    'infinity usually means that training diverged.'
                )
            lesions = self._lesions(sample, name)
            _check_lesions(lesions['gt_boxes'], name)
            self.results.append(
                dict(
                    img_id=sample.get('img_id'),
                    patient=sample.get('patient'),
                    interval_mm=sample.get('interval_mm'),
                    boxes=boxes,
                    scores=scores,
                    **lesions,
                )
            )

    def compute_metrics(self, results: list) -> dict:
        """Compute, log and write the table of all images.

        Args:
            results: Results of :meth:`process`.

        Returns:
            Sensitivities by name.
        """
        # The order of the images must not depend on the number of processes.
        if all(result['img_id'] is not None for result in results):
            results = sorted(results, key=lambda result: str(result['img_id']))
        matches = match_boxes(
            [result['boxes'] for result in results],
            [result['scores'] for result in results],
            [result['gt_boxes'] for result in results],
            self.iou_thr,
            self.plus_one,
        )
        patients = self._patients(results)
        self.matches, self.patients = matches, patients
        curve = matches.curve(legacy=self.legacy)
        total = self._table_row(matches, patients, self.fps, None)
        subgroups = {
            name: self._table_row(matches, patients, [self.subgroup_fps], mask)
            for name, mask in self._subgroups(results, matches).items()
        }
        self._log(total, subgroups, matches, patients)
        self._warn_short_curve(curve.last_fp)
        self.curve = curve
        self.report = dict(
            num_images=matches.num_images,
            num_lesions=matches.num_lesions,
            num_patients=len(np.unique(patients)),
            iou_thr=self.iou_thr,
            plus_one=self.plus_one,
            legacy=self.legacy,
            confidence=self.confidence,
            num_resamples=self.num_resamples,
            seed=self.seed,
            others=self.others,
            overall=total,
            subgroups=subgroups,
        )
        if self.outfile_prefix:
            self._write(dict(self.report, curve=curve.vertices().to_dict()))
        metrics = {
            f'sens@{fp:g}': value for fp, value in zip(self.fps, total['sensitivity'])
        }
        metrics[self._mean_name] = total['mean']
        return metrics

    @property
    def _mean_name(self) -> str:
        return f'mean_{min(self.mean_fps):g}_{max(self.mean_fps):g}'

    def _lesions(self, sample: dict, name: str) -> dict:
        """Return the boxes of the lesions and the known properties of each."""
        if 'instances' in sample:
            instances = [
                instance
                for instance in sample['instances']
                if not instance.get('ignore_flag', 0)
                and self.label in (None, instance.get('bbox_label'))
            ]
            known = {
                key: [instance.get(key) for instance in instances]
                for key in LESION_KEYS
            }
            boxes = [instance['bbox'] for instance in instances]
            return dict(gt_boxes=_array(boxes).reshape(-1, 4), **known)
        if 'gt_instances' not in sample:
            raise ValueError(
                f"{name}: FROCMetric needs the lesions, either 'instances' among "
                "the meta_keys of PackDetInputs or 'gt_instances' by "
                'LoadAnnotations in the test pipeline.'
            )
        lesions = sample['gt_instances']
        boxes = _array(lesions['bboxes']).reshape(-1, 4)
        if self.label is not None:
            boxes = boxes[_array(lesions['labels']) == self.label]
        return dict(gt_boxes=boxes, **{key: [None] * len(boxes) for key in LESION_KEYS})

    @staticmethod
    def _patients(results: list) -> np.ndarray:
        """Return the name of the patient of each image.

        An image without a patient counts as a patient.
        """
        names = [
            f'image {index}'
            if result['patient'] is None
            else f'patient {result["patient"]}'
            for index, result in enumerate(results)
        ]
        return np.array(names, dtype=str)

    @staticmethod
    def _subgroups(results: list, matches: FROCMatches) -> dict[str, np.ndarray]:
        """Return the masks of the subgroups with known properties."""
        lesion_type = _column(
            value for result in results for value in result['lesion_type']
        )
        diameter_mm = _column(
            None if value is None else np.max(value)
            for result in results
            for value in result['diameter_mm']
        )
        interval_mm = _column(result['interval_mm'] for result in results)
        if interval_mm is not None:
            interval_mm = interval_mm[matches.lesion_image]
        return deeplesion_subgroups(lesion_type, diameter_mm, interval_mm)

    def _table_row(
        self,
        matches: FROCMatches,
        patients: np.ndarray,
        fps: Sequence[float],
        lesions: np.ndarray | None,
    ) -> dict[str, Any]:
        """Return sensitivities and intervals of all lesions or of a subgroup."""
        curve = matches.curve(lesions, self.others, self.legacy)
        row: dict[str, Any] = dict(
            num_lesions=curve.num_lesions,
            fps=list(fps),
            sensitivity=curve.sensitivity_at(fps).tolist(),
        )
        if lesions is None:
            row['mean'] = curve.mean_sensitivity(self.mean_fps)
        if self.num_resamples:
            wanted = [*fps, *self.mean_fps] if lesions is None else fps
            samples = bootstrap_froc(
                matches,
                patients,
                wanted,
                lesions,
                self.others,
                self.num_resamples,
                self.seed,
            )
            low, high = percentile_interval(samples[:, : len(fps)], self.confidence)
            row['interval'] = np.stack([low, high], axis=1).tolist()
            if lesions is None:
                row['mean_interval'] = [
                    float(bound)
                    for bound in percentile_interval(
                        samples[:, len(fps) :].mean(1), self.confidence
                    )
                ]
        return row

    def _warn_short_curve(self, last_fp: float) -> None:
        """Warn if a sensitivity is requested after the end of the curve."""
        beyond = sorted({fp for fp in (*self.fps, *self.mean_fps) if fp > last_fp})
        if beyond:
            MMLogger.get_current_instance().warning(
                'The FROC curve ends at %.3g false positives per image, before %s: '
                'the sensitivity there is that of the end. If the detector drops '
                'boxes, lower score_thr and raise max_per_img of model.test_cfg.',
                last_fp,
                ', '.join(f'{fp:g}' for fp in beyond),
            )

    def _log(
        self,
        total: dict[str, Any],
        subgroups: dict[str, dict],
        matches: FROCMatches,
        patients: np.ndarray,
    ) -> None:
        """Log the tables of the paper."""
        lines = [
            'Sensitivity (%) at false positives per image, IoU >= '
            f'{self.iou_thr:g}: {matches.num_images} images, '
            f'{matches.num_lesions} lesions, {len(np.unique(patients))} patients'
        ]
        columns = [
            (f'{fp:g}', value) for fp, value in zip(self.fps, total['sensitivity'])
        ]
        columns.append((f'mean {self._mean_name[5:].replace("_", "-")}', total['mean']))
        intervals = None
        if self.num_resamples:
            intervals = [*total['interval'], total['mean_interval']]
        lines += _table(columns, intervals, self.confidence)
        if subgroups:
            lines += [
                '',
                f'Sensitivity (%) at {self.subgroup_fps:g} false positives '
                'per image by type, long diameter and slice interval',
            ]
            columns = [(name, row['sensitivity'][0]) for name, row in subgroups.items()]
            intervals = None
            if self.num_resamples:
                intervals = [row['interval'][0] for row in subgroups.values()]
            lines += _table(
                columns,
                intervals,
                self.confidence,
                [row['num_lesions'] for row in subgroups.values()],
            )
        MMLogger.get_current_instance().info('\n'.join(['', *lines]))

    def _write(self, content: dict) -> None:
        path = Path(f'{self.outfile_prefix}.froc.json')
        write_json(path, content)
        MMLogger.get_current_instance().info(f'FROC written to {path}')


def _check_lesions(boxes: np.ndarray, name: str) -> None:
    """Raise an error for an invalid lesion box."""
    wrong = ~np.isfinite(boxes).all(1) | (boxes[:, 2:] < boxes[:, :2]).any(1)
    if wrong.any():
        raise ValueError(
            f'{name}: boxes of lesions must be finite with x1 <= x2 and y1 <= y2, got '
            f'{boxes[np.flatnonzero(wrong)[0]].tolist()}.'
        )


def _array(values: Any) -> np.ndarray:
    """Return a float64 array of a tensor, of mmdet's boxes or of numbers."""
    values = getattr(values, 'tensor', values)  # HorizontalBoxes
    if hasattr(values, 'detach'):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)


def _column(values: Iterable[float | None]) -> np.ndarray | None:
    """Return numbers, NaN for unknown numbers; None if all are unknown."""
    known = [np.nan if value is None else float(value) for value in values]
    column = np.array(known, dtype=np.float64)
    return None if np.isnan(column).all() else column


def _table(
    columns: Sequence[tuple[str, float]],
    intervals: Sequence[Sequence[float]] | None,
    confidence: float,
    counts: Sequence[int] | None = None,
) -> list[str]:
    """Return the lines of a table with one named value per column."""
    rows = [
        ('', [name for name, _ in columns]),
        ('sensitivity', [f'{100 * value:.1f}' for _, value in columns]),
    ]
    if intervals is not None:
        rows.append(
            (
                f'{100 * confidence:g} % interval',
                [f'{100 * low:.1f}-{100 * high:.1f}' for low, high in intervals],
            )
        )
    if counts is not None:
        rows.append(('lesions', [str(count) for count in counts]))
    return plain_table([[title, *cells] for title, cells in rows])
