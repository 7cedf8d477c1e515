"""Segmentors."""

from .nam_segmentor import NAMSegmentor

__all__ = ['NAMSegmentor']
