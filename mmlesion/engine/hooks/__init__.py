"""Hooks for training and testing."""

from .activation_map_hook import ActivationMapHook
from .atomic_checkpoint_hook import AtomicCheckpointHook
from .attention_figure_hook import AttentionFigureHook
from .ct_visualization_hook import CTVisualizationHook
from .epoch_seed_hook import EpochSeedHook
from .float32_boxes_hook import Float32BoxesHook
from .map_benchmark_hook import MapBenchmarkHook
from .map_shift_hook import MapShiftHook
from .nodule_figure_hook import NoduleFigureHook
from .non_finite_loss_hook import NonFiniteLossHook
from .reset_layers_hook import ResetLayersHook

__all__ = [
    'ActivationMapHook',
    'AtomicCheckpointHook',
    'AttentionFigureHook',
    'CTVisualizationHook',
    'EpochSeedHook',
    'Float32BoxesHook',
    'MapBenchmarkHook',
    'MapShiftHook',
    'NoduleFigureHook',
    'NonFiniteLossHook',
    'ResetLayersHook',
]
