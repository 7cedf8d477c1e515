from .contextual_attention import ContextualAttention
from .max_softmax import max_softmax
from .patch_stem import PatchStem
from .spatial_attention import SpatialAttention

__all__ = ['ContextualAttention', 'PatchStem', 'SpatialAttention', 'max_softmax']
