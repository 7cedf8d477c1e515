"""Heads of classifiers and segmentors."""

from .cam_head import CAMHead
from .dice_mask_head import DiceMaskHead
from .hesam_head import HESAMHead
from .joint_nodule_head import JointNoduleHead
from .mlp_cls_head import MLPClsHead
from .multi_gap_head import MultiGAPHead
from .soft_activation_head import SoftActivationHead

__all__ = [
    'CAMHead',
    'DiceMaskHead',
    'HESAMHead',
    'JointNoduleHead',
    'MLPClsHead',
    'MultiGAPHead',
    'SoftActivationHead',
]
