"""Public functions: train, test, explain and cross-validate by a config."""

from typing import TYPE_CHECKING

# First: the registry checks versions before mmdet is imported.
from mmlesion import registry  # noqa: F401
from mmlesion.deprecation import old_names
from mmlesion.engine.trained_model import load_trained_model
from mmlesion.engine.zoo import register_zoo, zoo_model, zoo_models
from mmlesion.explain.detections import DetectionScores, explain_detections

from .cross_validate import cross_validate, cross_validation_table
from .evaluate import evaluate
from .explain import ExplainOptions, explain
from .nodule_inputs import set_nodule_inputs
from .scan_detector import ScanDetector, ScanOptions
from .scan_program import CaseOutputs, ScanProgram, write_case
from .scan_program_task import ProgramTask

# So that mmpretrain.get_model('mmlesion::<name>') works.
register_zoo()

__all__ = [
    'CaseOutputs',
    'DetectionScores',
    'ExplainOptions',
    'ProgramTask',
    'ScanDetector',
    'ScanOptions',
    'ScanProgram',
    'cross_validate',
    'cross_validation_table',
    'evaluate',
    'explain',
    'explain_detections',
    'load_trained_model',
    'set_nodule_inputs',
    'write_case',
    'zoo_model',
    'zoo_models',
]

if not TYPE_CHECKING:
    __getattr__ = old_names(
        __name__,
        evaluate_detector='mmlesion.apis:evaluate',
        compare_maps='mmlesion.apis.studies:compare_maps',
        crop_table='mmlesion.apis.studies:crop_table',
        position_table='mmlesion.apis.studies:position_table',
        results_table='mmlesion.apis.studies:results_table',
        segment_nodule_crops='mmlesion.apis.studies:segment_nodule_crops',
        sign_maps='mmlesion.apis.studies:sign_maps',
    )
