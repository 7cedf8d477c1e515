"""Shells of MMEngine around the numbers in ``evaluation.functional``."""

from .activation_map_metric import ActivationMapMetric
from .binary_classification_metric import BinaryClassificationMetric
from .froc_metric import FROCMetric
from .nodule_segmentation_metric import NoduleSegmentationMetric, scores_of

__all__ = [
    'ActivationMapMetric',
    'BinaryClassificationMetric',
    'FROCMetric',
    'NoduleSegmentationMetric',
    'scores_of',
]
