"""Transforms from a sample's index entry to a network's input (mmcv only)."""

from .crop_to_body import CropToBody, undo_crop
from .load_lidc_slice import LoadLIDCSlice
from .load_nodule_patch import LoadNodulePatch
from .load_radiograph import LoadRadiograph
from .load_slice_stack import LoadSliceStack
from .mix_windows_hu import MixWindowsHU
from .random_symmetry import RandomSymmetry
from .resize_to_spacing import ResizeToSpacing
from .subtract_background import SubtractBackground
from .window_hu import WindowHU

__all__ = [
    'CropToBody',
    'undo_crop',
    'LoadLIDCSlice',
    'LoadNodulePatch',
    'LoadRadiograph',
    'LoadSliceStack',
    'MixWindowsHU',
    'RandomSymmetry',
    'ResizeToSpacing',
    'SubtractBackground',
    'WindowHU',
]
