from .cam_head import CAMHead
from .hesam_head import HESAMHead
from .soft_activation_head import SoftActivationHead

__all__ = ['CAMHead', 'HESAMHead', 'SoftActivationHead']
