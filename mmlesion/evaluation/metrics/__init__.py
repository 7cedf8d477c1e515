"""Metrics of MMEngine that compute with ``mmlesion.evaluation.functional``."""

from .activation_map_metric import ActivationMapMetric
from .binary_classification_metric import BinaryClassificationMetric
from .froc_metric import FROCMetric
from .nodule_segmentation_metric import NoduleSegmentationMetric, slice_scores
from .recist_metric import RECISTMetric
from .whole_slice_metric import WholeSliceMetric

__all__ = [
    'ActivationMapMetric',
    'BinaryClassificationMetric',
    'FROCMetric',
    'NoduleSegmentationMetric',
    'RECISTMetric',
    'WholeSliceMetric',
    'slice_scores',
]
