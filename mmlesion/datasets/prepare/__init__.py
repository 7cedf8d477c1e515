"""Conversion of published data sets to the files that training reads."""

from .deeplesion import prepare_deeplesion
from .lidc import prepare_lidc, prepare_lidc_crops
from .lidc_crop_slices import prepare_lidc_crop_slices
from .lidc_slices import prepare_lidc_slices
from .scans import prepare_scans
from .signs import prepare_signs, read_refined_lung, write_scan_projections

__all__ = [
    'prepare_deeplesion',
    'prepare_lidc',
    'prepare_lidc_crops',
    'prepare_lidc_crop_slices',
    'prepare_lidc_slices',
    'prepare_scans',
    'prepare_signs',
    'read_refined_lung',
    'write_scan_projections',
]
