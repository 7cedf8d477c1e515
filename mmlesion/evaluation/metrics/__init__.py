"""Shells of MMEngine around the numbers in ``evaluation.functional``."""
from .activation_map_metric import ActivationMapMetric
from .froc_metric import FROCMetric

__all__ = ['ActivationMapMetric', 'FROCMetric']
