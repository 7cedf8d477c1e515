"""Programs for single papers: comparisons, sign maps, result tables."""

from .compare_detectors import (
    ComparisonOptions,
    compare_detectors,
    comparison_table,
)
from .compare_image_maps import compare_image_maps
from .compare_maps import compare_maps
from .find_signs import find_signs, signs_table
from .measure_attention import attention_table, measure_attention
from .measure_maps import MeasureOptions, measure_maps
from .results_table import results_table
from .segment_nodule_crops import crop_table, segment_nodule_crops
from .segment_nodules import nodule_table, segment_nodules
from .sign_maps import position_table, sign_maps

__all__ = [
    'ComparisonOptions',
    'MeasureOptions',
    'attention_table',
    'compare_detectors',
    'compare_image_maps',
    'compare_maps',
    'comparison_table',
    'crop_table',
    'find_signs',
    'measure_attention',
    'measure_maps',
    'nodule_table',
    'position_table',
    'results_table',
    'segment_nodule_crops',
    'segment_nodules',
    'sign_maps',
    'signs_table',
]
