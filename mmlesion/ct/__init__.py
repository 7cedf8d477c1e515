"""CT: files in Hounsfield units, windowing, resampling, the body, slices.

NumPy, SimpleITK, OpenCV and scikit-image only: no torch, no OpenMMLab.
"""
from .body import BODY_THRESHOLD_HU, body_box
from .png import PNG_OFFSET_HU, decode_png_hu, read_png_hu, write_png_hu
from .slice_archive import (
    ARCHIVE_SUFFIX,
    PARTIAL_SUFFIX,
    SliceArchive,
    write_slice_archive,
)
from .slices import SLICE_INTERVAL_MM, SliceMix, check_num_slices, plan_slices
from .windowing import FULL_WINDOW_HU, window_hu

__all__ = [
    'BODY_THRESHOLD_HU', 'body_box', 'PNG_OFFSET_HU', 'decode_png_hu',
    'read_png_hu', 'write_png_hu', 'ARCHIVE_SUFFIX', 'PARTIAL_SUFFIX',
    'SliceArchive', 'write_slice_archive', 'SLICE_INTERVAL_MM', 'SliceMix',
    'check_num_slices', 'plan_slices', 'FULL_WINDOW_HU', 'window_hu'
]
