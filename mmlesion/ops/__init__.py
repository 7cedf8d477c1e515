"""Position-sensitive RoI pooling: plain functions on tensors.

Needs torch, and mmcv's ordinary RoIAlign; no compiled code of our own, so both
run wherever those two run.
"""

from .ps_roi_align import ps_roi_align
from .ps_roi_pool import ps_roi_pool

__all__ = ['ps_roi_align', 'ps_roi_pool']
