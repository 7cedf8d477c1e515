from .context_neck import ContextNeck
from .slice_fusion import SliceFusion

__all__ = ['ContextNeck', 'SliceFusion']
