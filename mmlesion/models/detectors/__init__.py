"""Detectors."""

from .context_rcnn import ContextRCNN

__all__ = ['ContextRCNN']
