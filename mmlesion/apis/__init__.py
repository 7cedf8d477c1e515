"""Public functions: train, test, explain and cross-validate by a config."""

# First: the registry checks versions before mmdet is imported.
from mmlesion import registry  # noqa: F401
from mmlesion.engine.trained_model import load_trained_model
from mmlesion.engine.zoo import register_zoo, zoo_model, zoo_models
from mmlesion.explain.detections import DetectionScores, explain_detections

from .cross_validate import cross_validate, cross_validation_table
from .evaluate import evaluate
from .explain import ExplainOptions, explain
from .nodule_inputs import set_nodule_extent, set_nodule_inputs
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
    'set_nodule_extent',
    'set_nodule_inputs',
    'write_case',
    'zoo_model',
    'zoo_models',
]
