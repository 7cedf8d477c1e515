"""Attention, fusion and context layers."""

from .asymmetric_context import AsymmetricContext
from .attention_pooling import AttentionPooling
from .context_conv2d import ContextConv2d, add_slice_context
from .contextual_attention import ContextualAttention
from .max_softmax import max_softmax
from .patch_stem import PatchStem
from .pseudo3d_context import Pseudo3DContext
from .shift_context import ShiftContext
from .slice_concat import SliceConcat
from .slice_pooling import SlicePooling
from .slice_transformer import SliceTransformer
from .spatial_attention import SpatialAttention

__all__ = [
    'AsymmetricContext',
    'AttentionPooling',
    'ContextConv2d',
    'ContextualAttention',
    'PatchStem',
    'Pseudo3DContext',
    'ShiftContext',
    'SliceConcat',
    'SlicePooling',
    'SliceTransformer',
    'SpatialAttention',
    'add_slice_context',
    'max_softmax',
]
