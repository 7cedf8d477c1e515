"""Writers of the findings of a scan in formats of other programs."""

from .formats import RESULT_FORMATS, complete_outlines, write_formats
from .source_grid import array_in_source, image_in_source
from .tables import (
    FINDING_COLUMNS,
    write_findings_csv,
    write_findings_json,
    write_label_map,
    write_slicer_markups,
)

__all__ = [
    'FINDING_COLUMNS',
    'RESULT_FORMATS',
    'array_in_source',
    'complete_outlines',
    'image_in_source',
    'write_findings_csv',
    'write_findings_json',
    'write_formats',
    'write_label_map',
    'write_slicer_markups',
]
