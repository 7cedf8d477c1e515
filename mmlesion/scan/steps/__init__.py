"""Steps that extend the findings of a scan; a scan config lists them."""

from .classify_findings import ClassifyFindings
from .explain_findings import ExplainFindings, move_map
from .outline_findings import OutlineFindings, mask_axes_mm
from .scan_step import ScanCase, ScanStep, checkpoint_sha256

__all__ = [
    'ClassifyFindings',
    'ExplainFindings',
    'OutlineFindings',
    'ScanCase',
    'ScanStep',
    'checkpoint_sha256',
    'mask_axes_mm',
    'move_map',
]
