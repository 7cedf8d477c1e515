"""Shells of MMEngine around the numbers in ``evaluation.functional``."""
from .froc_metric import FROCMetric

__all__ = ['FROCMetric']
