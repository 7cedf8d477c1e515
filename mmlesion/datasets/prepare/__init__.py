"""From a data set as it is published to what training reads."""
from .deeplesion import prepare_deeplesion

__all__ = ['prepare_deeplesion']
