"""Backbones."""

from importlib.util import find_spec

from .conv_net_3d import ConvNet3D
from .masked_backbone import MaskedBackbone
from .multi_gap_vgg import MultiGAPVGG
from .patch_conv_net import PatchConvNet
from .restrided_backbone import RestridedBackbone
from .slice_backbone import SliceBackbone
from .two_scale_backbone import TwoScaleBackbone
from .unet import UNet
from .unet_resnet import UNetResNet
from .vgg_stride8 import VGGStride8

__all__ = [
    'ConvNet3D',
    'MaskedBackbone',
    'MultiGAPVGG',
    'PatchConvNet',
    'RestridedBackbone',
    'SliceBackbone',
    'TwoScaleBackbone',
    'UNet',
    'UNetResNet',
    'VGGStride8',
]

if find_spec('mmpretrain') is not None:
    from .inception_v3_features import InceptionV3Features  # noqa: F401

    __all__ += ['InceptionV3Features']
