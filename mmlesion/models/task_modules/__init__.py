"""Anchor generators."""

from .lesion_anchor_generator import LesionAnchorGenerator

__all__ = ['LesionAnchorGenerator']
