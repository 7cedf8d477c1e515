"""Arrays in, numbers out. NumPy only: no torch, no OpenMMLab."""
from .box_iou import box_iou
from .deeplesion_subgroups import deeplesion_subgroups
from .froc import froc
from .froc_bootstrap import bootstrap_froc, percentile_interval
from .froc_curve import FROCCurve
from .froc_matches import FROCMatches, match_boxes

__all__ = [
    'FROCCurve', 'FROCMatches', 'bootstrap_froc', 'box_iou',
    'deeplesion_subgroups', 'froc', 'match_boxes', 'percentile_interval',
]
