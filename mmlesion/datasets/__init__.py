"""Data sets and their transforms.

The transforms need mmcv. A data set also needs the library of its base class, and is
not imported if that library is not installed.
"""

from . import transforms  # noqa: F401
from .candidates import CandidateDataset
from .indices.patient_folds import patient_folds
from .indices.scan_list import ScanRow, read_scan_list
from .lidc import LIDCNoduleDataset
from .lidc_slices import LIDCSliceDataset
from .lung_projection import LungProjectionDataset
from .node21 import NODE21Dataset, read_node21_csv
from .sources.deeplesion_csv import read_deeplesion_csv
from .sources.deeplesion_row import LESION_TYPES, SPLITS, LesionRow
from .sources.lidc_xml import (
    LIDCReading,
    ReaderNodule,
    read_lidc_readings,
    read_lidc_xml,
)

__all__ = [
    'CandidateDataset',
    'LESION_TYPES',
    'SPLITS',
    'LIDCNoduleDataset',
    'LIDCReading',
    'LIDCSliceDataset',
    'LesionRow',
    'LungProjectionDataset',
    'NODE21Dataset',
    'ReaderNodule',
    'ScanRow',
    'patient_folds',
    'read_deeplesion_csv',
    'read_lidc_readings',
    'read_lidc_xml',
    'read_node21_csv',
    'read_scan_list',
]

try:
    from .deeplesion import DeepLesionDataset  # noqa: F401

    __all__ += ['DeepLesionDataset']
except ModuleNotFoundError as error:
    if (error.name or '').split('.')[0] != 'mmdet':
        raise
