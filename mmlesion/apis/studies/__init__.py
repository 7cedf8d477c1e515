"""Programs for single papers: comparisons, sign maps, result tables."""

from .audit_nodules import audit_nodules, audit_table
from .calibrate import calibrate, calibrate_folds, calibration_table
from .compare_detectors import (
    ComparisonOptions,
    compare_detectors,
    comparison_table,
)
from .compare_image_maps import compare_image_maps
from .compare_maps import compare_maps
from .evaluate_signs import evaluate_signs, signs_evaluation_table
from .find_signs import find_signs, signs_table
from .measure_attention import attention_table, measure_attention
from .measure_maps import MeasureOptions, measure_maps
from .results_table import results_table
from .segment_nodule_crops import crop_table, segment_nodule_crops
from .segment_nodules import nodule_table, segment_nodules
from .sign_maps import position_table, sign_maps
from .train_nodule_table import METHODS, TableOptions, train_nodule_table

__all__ = [
    'METHODS',
    'MeasureOptions',
    'TableOptions',
    'audit_nodules',
    'audit_table',
    'calibrate',
    'calibrate_folds',
    'calibration_table',
    'ComparisonOptions',
    'attention_table',
    'compare_detectors',
    'compare_image_maps',
    'compare_maps',
    'comparison_table',
    'crop_table',
    'evaluate_signs',
    'find_signs',
    'measure_attention',
    'measure_maps',
    'nodule_table',
    'position_table',
    'results_table',
    'segment_nodule_crops',
    'segment_nodules',
    'sign_maps',
    'signs_evaluation_table',
    'signs_table',
    'train_nodule_table',
]
