"""Transforms from a sample of a data set to the input of a network.

They need mmcv. :class:`PackCTInputs` also needs mmdet, and is not imported without it.
"""

from .crop_to_body import CropToBody
from .load_candidate_patch import LoadCandidatePatch
from .load_lesion_types import LoadLesionTypes
from .load_lidc_slice import LoadLIDCSlice
from .load_nodule_patch import LoadNodulePatch
from .load_radiograph import LoadRadiograph
from .load_slice_stack import LoadSliceStack
from .mix_windows_hu import MixWindowsHU
from .random_flip_z import RandomFlipZ
from .random_spacing import RandomSpacing
from .random_symmetry import RandomSymmetry
from .recist_to_mask import RECISTToMask
from .resize_to_spacing import ResizeToSpacing
from .round_hu import RoundHU
from .stock_inference_step import StockInferenceStep
from .subtract_background import SubtractBackground
from .window_hu import WindowHU

__all__ = [
    'CropToBody',
    'LoadCandidatePatch',
    'LoadLIDCSlice',
    'LoadLesionTypes',
    'LoadNodulePatch',
    'LoadRadiograph',
    'LoadSliceStack',
    'MixWindowsHU',
    'RECISTToMask',
    'RandomFlipZ',
    'RandomSpacing',
    'RandomSymmetry',
    'ResizeToSpacing',
    'RoundHU',
    'StockInferenceStep',
    'SubtractBackground',
    'WindowHU',
]

try:
    from .pack_ct_inputs import PackCTInputs  # noqa: F401

    __all__ += ['PackCTInputs']
except ModuleNotFoundError as error:
    if (error.name or '').split('.')[0] != 'mmdet':
        raise
