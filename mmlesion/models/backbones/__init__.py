from .multi_gap_vgg import MultiGAPVGG
from .patch_conv_net import PatchConvNet
from .restrided_backbone import RestridedBackbone
from .slice_backbone import SliceBackbone
from .unet_resnet import UNetResNet
from .vgg_stride8 import VGGStride8

__all__ = [
    'MultiGAPVGG', 'PatchConvNet', 'RestridedBackbone', 'SliceBackbone', 'UNetResNet',
    'VGGStride8'
]
