"""Figures: detections on CT, attention, activation maps, FROC and ROC curves."""

from .attention_figure import (
    draw_contextual_attention,
    draw_spatial_attention,
    slice_names,
)
from .ct_visualizer import CTVisualizer, choose_window, write_picture
from .froc_figure import draw_froc
from .nodule_map_figure import draw_nodule_maps
from .nodule_panels import draw_size_curves, nodule_panels
from .roc_curve import draw_epoch_curves, draw_roc
from .sign_map_figure import draw_sign_map

__all__ = [
    'CTVisualizer',
    'choose_window',
    'draw_contextual_attention',
    'draw_epoch_curves',
    'draw_froc',
    'draw_nodule_maps',
    'draw_roc',
    'draw_sign_map',
    'draw_size_curves',
    'draw_spatial_attention',
    'nodule_panels',
    'slice_names',
    'write_picture',
]
