"""What programs call."""

# First: it settles what must be before mmdet is imported.
from mmlesion import registry  # noqa: F401

from .command_line import (
    add_common_arguments,
    config_from_arguments,
    end_with_one_sentence,
    use_mixed_precision,
)
from .compare_maps import compare_maps
from .cross_validate import cross_validate, cross_validation_table
from .evaluate import evaluate_detector
from .explain import explain
from .explain_detections import DetectionScores, explain_detections
from .nodule_inputs import set_nodule_inputs
from .results_table import results_table
from .segment_nodule_crops import crop_table, segment_nodule_crops
from .sign_maps import position_table, sign_maps
from .trained_model import load_trained_model

__all__ = [
    'DetectionScores',
    'add_common_arguments',
    'compare_maps',
    'config_from_arguments',
    'crop_table',
    'cross_validate',
    'cross_validation_table',
    'end_with_one_sentence',
    'evaluate_detector',
    'explain',
    'explain_detections',
    'load_trained_model',
    'position_table',
    'results_table',
    'segment_nodule_crops',
    'set_nodule_inputs',
    'sign_maps',
    'use_mixed_precision',
]
