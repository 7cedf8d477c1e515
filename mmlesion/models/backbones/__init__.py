from .slice_backbone import SliceBackbone
from .vgg_stride8 import VGGStride8

__all__ = ['SliceBackbone', 'VGGStride8']
