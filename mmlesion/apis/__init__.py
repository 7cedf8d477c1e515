"""What programs call."""
# First: it settles what must be before mmdet is imported.
from mmlesion import registry  # noqa: F401

from .command_line import (
    add_common_arguments,
    config_from_arguments,
    end_with_one_sentence,
    use_mixed_precision,
)
from .cross_validate import cross_validate, cross_validation_table
from .evaluate import evaluate_detector
from .explain_detections import DetectionScores, explain_detections
from .nodule_inputs import set_nodule_inputs
from .results_table import results_table

__all__ = [
    'DetectionScores', 'add_common_arguments', 'config_from_arguments',
    'cross_validate', 'cross_validation_table', 'end_with_one_sentence',
    'evaluate_detector', 'explain_detections', 'results_table', 'set_nodule_inputs',
    'use_mixed_precision'
]
