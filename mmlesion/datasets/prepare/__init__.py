"""From a data set as it is published to what training reads."""
from .deeplesion import prepare_deeplesion
from .lidc import prepare_lidc, prepare_lidc_crops

__all__ = ['prepare_deeplesion', 'prepare_lidc', 'prepare_lidc_crops']
