"""Position-sensitive RoI pooling: plain functions on tensors.

They need torch and mmcv's ordinary RoIAlign, but no other compiled code, so they
run on any device that mmcv supports.
"""

from .ps_roi_align import ps_roi_align
from .ps_roi_pool import ps_roi_pool

__all__ = ['ps_roi_align', 'ps_roi_pool']
