"""Shells of MMEngine around the numbers in ``evaluation.functional``."""

from .activation_map_metric import ActivationMapMetric
from .binary_classification_metric import BinaryClassificationMetric
from .froc_metric import FROCMetric
from .nodule_segmentation_metric import NoduleSegmentationMetric, scores_of
from .whole_slice_metric import WholeSliceMetric

__all__ = [
    'ActivationMapMetric',
    'BinaryClassificationMetric',
    'FROCMetric',
    'NoduleSegmentationMetric',
    'WholeSliceMetric',
    'scores_of',
]
