"""Classifiers."""

from .calibrated_classifier import CalibratedClassifier

__all__ = ['CalibratedClassifier']
