"""CT volumes, slices and radiographs: files, HU windows, geometry and lung masks.

The package needs only NumPy, SimpleITK, OpenCV and scikit-image, not torch or
OpenMMLab.
"""

from typing import TYPE_CHECKING

from mmlesion.deprecation import old_names

from .back_projection import COMBINATIONS, back_project
from .body import BODY_THRESHOLD_HU, body_box
from .crop import boxes_in_slice, move_instances, sample_in_slice
from .dicom_folder import SeriesInfo, choose_series, list_series
from .files import (
    VOLUME_SUFFIXES,
    axial_slices,
    image_to_volume,
    read_volume,
    volume_to_image,
    write_itk_image,
    write_volume,
)
from .geometry import SourceImage, VoxelGrid
from .label_file import ScanLabels, read_labels
from .lung_check import lung_doubts
from .lung_mask import LUNG_THRESHOLD_HU, WatershedSteps, lung_mask
from .lung_mask_file import find_lung_mask, read_lung_mask
from .lung_regions import NoLungsError
from .lung_sides import LEFT_LUNG, NO_LUNG, RIGHT_LUNG, left_right_lungs
from .png import PNG_OFFSET_HU, decode_png_hu, read_png_hu, write_png_hu
from .projections import (
    GRAY_RANGE,
    GRID_SHAPE,
    HU_RANGES,
    PROJECTION_MODES,
    REGIONS,
    ROTATIONS_DEG,
    VIEWS,
    project_lungs,
    region_slices,
    resample_to_grid,
    rescale_projection,
)
from .radiograph import read_radiograph, write_radiograph
from .resampling import resample
from .scan_slice import ScanSlice, as_scan_slice, read_slice_hu, square_pixel_mm
from .slice_archive import (
    ARCHIVE_SUFFIX,
    SliceArchive,
    write_slice_archive,
)
from .slices import SLICE_INTERVAL_MM, SliceMix, check_num_slices, plan_slices
from .volume import CTVolume
from .windowing import FULL_WINDOW_HU, window_hu

__all__ = [
    'COMBINATIONS',
    'back_project',
    'BODY_THRESHOLD_HU',
    'body_box',
    'boxes_in_slice',
    'move_instances',
    'sample_in_slice',
    'SeriesInfo',
    'choose_series',
    'list_series',
    'VOLUME_SUFFIXES',
    'axial_slices',
    'image_to_volume',
    'read_volume',
    'volume_to_image',
    'write_itk_image',
    'write_volume',
    'SourceImage',
    'VoxelGrid',
    'ScanLabels',
    'read_labels',
    'LUNG_THRESHOLD_HU',
    'WatershedSteps',
    'NoLungsError',
    'lung_doubts',
    'find_lung_mask',
    'lung_mask',
    'read_lung_mask',
    'LEFT_LUNG',
    'NO_LUNG',
    'RIGHT_LUNG',
    'left_right_lungs',
    'PNG_OFFSET_HU',
    'decode_png_hu',
    'read_png_hu',
    'write_png_hu',
    'read_radiograph',
    'write_radiograph',
    'resample',
    'GRAY_RANGE',
    'GRID_SHAPE',
    'HU_RANGES',
    'PROJECTION_MODES',
    'REGIONS',
    'ROTATIONS_DEG',
    'VIEWS',
    'project_lungs',
    'region_slices',
    'resample_to_grid',
    'rescale_projection',
    'ScanSlice',
    'as_scan_slice',
    'read_slice_hu',
    'square_pixel_mm',
    'ARCHIVE_SUFFIX',
    'SliceArchive',
    'write_slice_archive',
    'SLICE_INTERVAL_MM',
    'SliceMix',
    'check_num_slices',
    'plan_slices',
    'CTVolume',
    'FULL_WINDOW_HU',
    'window_hu',
]

if not TYPE_CHECKING:
    __getattr__ = old_names(
        __name__,
        GREY_RANGE='mmlesion.ct:GRAY_RANGE',
    )
