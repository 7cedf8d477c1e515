"""Rates of a binary classifier."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mmlesion.files import write_json
from mmlesion.registry import METRICS

from ..functional import (
    binary_areas,
    binary_rates,
    brier_score,
    calibration_error,
    log_loss,
    operating_points,
    positive_probability,
    youden_threshold,
)


@METRICS.register_module()
class BinaryClassificationMetric(BaseMetric):
    """Rates and areas under curves of a binary classifier.

    Each data sample has ``pred_score`` and ``gt_label``, as set by classifiers of
    MMPretrain and ``PackInputs``. The metric returns ``accuracy``, ``sensitivity``
    (recall), ``specificity``, ``precision`` and ``f1`` at the threshold, ``auc`` (area
    under the ROC curve), ``auprc`` (area under the precision-recall curve, where
    guessing gives the share of positives), all in [0, 1], higher is better; and
    ``nll`` (negative log-likelihood, i.e. cross-entropy, in nats), ``brier`` (Brier
    score) and ``ece`` (expected calibration error, 10 bins), lower is better; and
    ``youden_threshold``, the threshold with the largest sum of sensitivity and
    specificity, which can be chosen on validation cases and used for test cases. With
    ``target_specificity``, it also returns ``threshold_at_specificity``, the lowest
    threshold that reaches this specificity, and ``sensitivity_at_specificity``. A
    number is NaN if a class that it needs has no case.

    Args:
        positive: Label of the positive class. Defaults to 1.
        threshold: Cases with a score above this value are classified as positive.
        case_keys: Keys of the meta information; the first that exists names the case
            in the file.
        score_key: Key of the scores of both classes in the data sample.
        target_specificity: Specificity of the operating point, in [0, 1].
        outfile_prefix: Write score and label of each case to
            ``<outfile_prefix>.scores.json``.
        collect_device: Device on which processes exchange results, ``'cpu'`` or
            ``'gpu'``.
        prefix: Prefix of the returned names, ``'binary'`` by default.

    Raises:
        ValueError: If a case has no score of the positive class, the score is NaN, or
            ``target_specificity`` is not within 0 and 1.
    """

    default_prefix = 'binary'

    def __init__(
        self,
        positive: int = 1,
        threshold: float = 0.5,
        case_keys: Sequence[str] = ('nodule_id', 'img_path', 'sample_idx'),
        score_key: str = 'pred_score',
        target_specificity: float | None = None,
        outfile_prefix: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if target_specificity is not None and not 0 <= target_specificity <= 1:
            raise ValueError(
                'BinaryClassificationMetric: target_specificity must be within 0 and '
                f'1, got {target_specificity}.'
            )
        self.positive = positive
        self.threshold = threshold
        self.case_keys = tuple(case_keys)
        self.score_key = score_key
        self.target_specificity = target_specificity
        self.outfile_prefix = outfile_prefix

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store the score and label of each case."""
        for sample in data_samples:
            name = next(
                (sample[key] for key in self.case_keys if key in sample),
                f'case {len(self.results)}',
            )
            if self.score_key not in sample or 'gt_label' not in sample:
                raise ValueError(
                    f'{name}: BinaryClassificationMetric needs {self.score_key} and '
                    'gt_label, as mmpretrain classifiers and PackInputs give them.'
                )
            scores = _array(sample[self.score_key])
            label = _array(sample['gt_label'])
            if self.positive >= len(scores) or len(label) != 1:
                raise ValueError(
                    f'{name}: expected one label and a score for class '
                    f'{self.positive}, got {len(label)} and {len(scores)} scores.'
                )
            if len(scores) != 2 or label[0] not in (0, 1):
                raise ValueError(
                    f'{name}: expected two classes and a label of 0 or 1, got '
                    f'{len(scores)} scores and the label {label[0]:g}.'
                )
            # Both classes in the order (negative, positive)
            score = positive_probability(scores[[1 - self.positive, self.positive]])
            if not np.isfinite(score):
                raise ValueError(
                    f'{name}: the score is {score}; usually training diverged.'
                )
            self.results.append(
                dict(
                    case=name,
                    patient=sample.get('patient'),
                    score=score,
                    label=int(label[0] == self.positive),
                )
            )

    def compute_metrics(self, results: list) -> dict:
        """Compute the measures and write the cases."""
        scores = np.array([case['score'] for case in results])
        labels = np.array([case['label'] for case in results])
        if self.outfile_prefix:
            write_json(f'{self.outfile_prefix}.scores.json', results, default=str)
        return dict(
            **binary_rates(scores, labels, self.threshold),
            **binary_areas(scores, labels),
            # MMEngine logs running means of all names that contain 'loss'
            nll=log_loss(scores, labels),
            brier=brier_score(scores, labels),
            ece=calibration_error(scores, labels),
            youden_threshold=youden_threshold(scores, labels),
            **self._at_specificity(scores, labels),
        )

    def _at_specificity(self, scores: np.ndarray, labels: np.ndarray) -> dict:
        if self.target_specificity is None:
            return {}
        point = dict(threshold=float('nan'), sensitivity=float('nan'))
        if 0 < labels.sum() < len(labels):
            value = self.target_specificity
            points = operating_points(scores, labels, specificities=[value])
            point = points[f'specificity {value:g}']
        return dict(
            threshold_at_specificity=point['threshold'],
            sensitivity_at_specificity=point['sensitivity'],
        )


def _array(values: Any) -> np.ndarray:
    if hasattr(values, 'detach'):
        values = values.detach().cpu().float().numpy()
    return np.atleast_1d(np.asarray(values))
