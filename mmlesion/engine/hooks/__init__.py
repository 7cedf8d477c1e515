"""Hooks of trainings and tests."""
from .activation_map_hook import ActivationMapHook
from .attention_figure_hook import AttentionFigureHook
from .ct_visualization_hook import CTVisualizationHook
from .epoch_seed_hook import EpochSeedHook
from .non_finite_loss_hook import NonFiniteLossHook

__all__ = [
    'ActivationMapHook', 'AttentionFigureHook', 'CTVisualizationHook',
    'EpochSeedHook', 'NonFiniteLossHook'
]
