from .contextual_attention import ContextualAttention
from .max_softmax import max_softmax
from .spatial_attention import SpatialAttention

__all__ = ['ContextualAttention', 'SpatialAttention', 'max_softmax']
