"""Steps that extend the findings of a scan; a scan config lists them."""

from .classify_findings import ClassifyFindings
from .explain_findings import ExplainFindings, move_map
from .find_signs import FindSigns
from .outline_findings import OutlineFindings
from .rescore_findings import RescoreFindings
from .scan_step import ScanCase, ScanStep, checkpoint_sha256, config_sha256

__all__ = [
    'ClassifyFindings',
    'ExplainFindings',
    'FindSigns',
    'OutlineFindings',
    'RescoreFindings',
    'ScanCase',
    'ScanStep',
    'checkpoint_sha256',
    'config_sha256',
    'move_map',
]
