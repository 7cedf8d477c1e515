"""Necks."""

from .context_neck import ContextNeck
from .slice_fusion import SliceFusion
from .slice_neck import SliceNeck

__all__ = ['ContextNeck', 'SliceFusion', 'SliceNeck']
