"""Anchor generators and box coders."""

from .lesion_anchor_generator import LesionAnchorGenerator
from .pixel_delta_bbox_coder import PixelDeltaXYWHBBoxCoder

__all__ = ['LesionAnchorGenerator', 'PixelDeltaXYWHBBoxCoder']
