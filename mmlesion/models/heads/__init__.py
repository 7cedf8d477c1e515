from .cam_head import CAMHead
from .hesam_head import HESAMHead
from .multi_gap_head import MultiGAPHead
from .soft_activation_head import SoftActivationHead

__all__ = ['CAMHead', 'HESAMHead', 'MultiGAPHead', 'SoftActivationHead']
