"""What programs call."""
# First: it settles what must be before mmdet is imported.
from mmlesion import registry  # noqa: F401

from .command_line import (
    add_common_arguments,
    config_from_arguments,
    end_with_one_sentence,
)
from .evaluate import evaluate_detector
from .explain_detections import DetectionScores, explain_detections

__all__ = [
    'DetectionScores', 'add_common_arguments', 'config_from_arguments',
    'end_with_one_sentence', 'evaluate_detector', 'explain_detections'
]
