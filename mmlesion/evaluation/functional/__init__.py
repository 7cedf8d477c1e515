"""Metrics of NumPy arrays, without torch and OpenMMLab."""

from .activation_map_scores import IMAGE_NUMBERS, ActivationMapScores
from .binary_classification import (
    binary_areas,
    binary_rates,
    f1_threshold,
    log_loss,
    roc_curve,
)
from .box_iou import box_iou
from .box_iou_3d import box_iou_3d
from .boxes_to_mask import boxes_to_mask
from .calibration import (
    apply_temperature,
    brier_score,
    calibration_error,
    fit_temperature,
    operating_points,
    positive_probability,
    reliability,
    youden_threshold,
)
from .deeplesion_subgroups import deeplesion_subgroups
from .fold_bootstrap import bootstrap_folds
from .froc import froc
from .froc_3d import FROC3D, LUNA16_FPS, froc_3d
from .froc_bootstrap import bootstrap_froc, percentile_interval
from .froc_curve import FROCCurve
from .froc_matches import FROCMatches, match_boxes
from .group_bootstrap import group_bootstrap
from .map_localization import (
    LesionHits,
    energy_inside,
    lesion_hits,
    pointing_game,
)
from .map_position import MapPosition, map_position
from .map_ranks import band_auprc, band_gain, relevance_rank_accuracy, sparseness
from .nodule_segmentation import (
    SliceScore,
    nodule_segmentation_intervals,
    nodule_segmentation_table,
    score_slice,
    scores_by_size,
)
from .paired_bootstrap import PairedDifference, paired_bootstrap
from .patch_geometry import GEOMETRY, geometry_baseline, patch_geometry
from .pixel_histogram import PixelHistogram
from .pixel_ranking import PixelRanking, rank_pixels
from .rank_correlation import RankCorrelation, rank_correlation
from .reader_agreement import (
    CERTAINTY_BINS,
    accuracy_by_certainty,
    one_against_rest,
    reader_accuracy_by_certainty,
    two_against_two,
)
from .seed_bootstrap import bootstrap_runs

__all__ = [
    'ActivationMapScores',
    'CERTAINTY_BINS',
    'GEOMETRY',
    'accuracy_by_certainty',
    'apply_temperature',
    'brier_score',
    'calibration_error',
    'fit_temperature',
    'geometry_baseline',
    'one_against_rest',
    'operating_points',
    'positive_probability',
    'patch_geometry',
    'reader_accuracy_by_certainty',
    'reliability',
    'two_against_two',
    'FROC3D',
    'FROCCurve',
    'FROCMatches',
    'IMAGE_NUMBERS',
    'LUNA16_FPS',
    'LesionHits',
    'MapPosition',
    'PairedDifference',
    'PixelHistogram',
    'PixelRanking',
    'RankCorrelation',
    'SliceScore',
    'band_auprc',
    'band_gain',
    'binary_areas',
    'binary_rates',
    'bootstrap_folds',
    'bootstrap_froc',
    'bootstrap_runs',
    'box_iou',
    'box_iou_3d',
    'boxes_to_mask',
    'deeplesion_subgroups',
    'energy_inside',
    'froc',
    'f1_threshold',
    'froc_3d',
    'group_bootstrap',
    'lesion_hits',
    'log_loss',
    'map_position',
    'match_boxes',
    'nodule_segmentation_intervals',
    'nodule_segmentation_table',
    'paired_bootstrap',
    'percentile_interval',
    'pointing_game',
    'rank_correlation',
    'rank_pixels',
    'relevance_rank_accuracy',
    'roc_curve',
    'score_slice',
    'scores_by_size',
    'sparseness',
    'youden_threshold',
]
