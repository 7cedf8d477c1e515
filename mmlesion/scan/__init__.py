"""Detection of lesions in whole CT scans."""

from .finding import (
    SCHEMA_VERSION,
    Box3D,
    Finding,
    ScanResult,
    SliceBox,
    StepRecord,
)

__all__ = [
    'SCHEMA_VERSION',
    'Box3D',
    'Finding',
    'ScanResult',
    'SliceBox',
    'StepRecord',
]
