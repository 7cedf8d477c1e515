"""Wrapper that evaluates metrics in the pixels of the whole slice."""

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric

from mmlesion.ct import sample_in_slice
from mmlesion.registry import METRICS


@METRICS.register_module()
class WholeSliceMetric(BaseMetric):
    """Evaluate a metric of any library in the pixels of the whole slice.

    Predictions and lesions of a cropped slice are in the pixels of the crop. This is
    sufficient for a metric that uses both from the data samples. A metric that reads
    its ground truth from a file (``CocoMetric`` with ``ann_file``) or that writes
    boxes to a file (``DumpDetResults``) needs the pixels of the whole slice.

    Args:
        metric: Config of the metric, or the metric.
    """

    def __init__(self, metric: dict | BaseMetric) -> None:
        built = METRICS.build(metric) if isinstance(metric, dict) else metric
        self.metric: BaseMetric = built
        super().__init__(collect_device=built.collect_device, prefix=built.prefix)

    @property
    def dataset_meta(self) -> dict | None:
        """Meta information of the data set."""
        return self.metric.dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        self.metric.dataset_meta = dataset_meta

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Convert the samples to the whole slice and pass them to the metric.

        Args:
            data_batch: Batch of the data loader.
            data_samples: Samples with predictions.
        """
        self.metric.process(
            data_batch, [sample_in_slice(sample) for sample in data_samples]
        )

    def compute_metrics(self, results: list) -> dict:
        """Not used, because :meth:`evaluate` calls the metric."""
        return self.metric.compute_metrics(results)

    def evaluate(self, size: int) -> dict:
        """Return the results of the metric.

        Args:
            size: Number of samples of the data set.
        """
        return self.metric.evaluate(size)
