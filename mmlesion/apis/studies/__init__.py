"""Programs that belong to one paper: comparisons, sign maps, result tables."""

from .compare_maps import compare_maps
from .measure_maps import MeasureOptions, measure_maps
from .results_table import results_table
from .segment_nodule_crops import crop_table, segment_nodule_crops
from .sign_maps import position_table, sign_maps

__all__ = [
    'MeasureOptions',
    'compare_maps',
    'crop_table',
    'measure_maps',
    'position_table',
    'results_table',
    'segment_nodule_crops',
    'sign_maps',
]
