"""Segmentation of nodules from activation maps.

>>> from mmlesion.segmentation import (
...     nodule_candidates, phase_means, prominent_blobs)
>>> scope = prominent_blobs(nodule_map)[0].mask
>>> candidates = nodule_candidates(image_hu, scope, phase_means(image_hu), 100.0**2)

The modules need NumPy, SciPy and scikit-image. :func:`residual_maps`, which finds the
candidate that the network has seen, needs torch. Nothing needs OpenMMLab.
"""

from .candidate_screen import CandidateScreen
from .candidates import nodule_candidates, smaller_parts
from .chance import chance_masks
from .icm import potts_energy, segment_phases
from .map_shift import map_peak, shift_map
from .phase_means import PHASE_WINDOW_HU, phase_means
from .prominent_blobs import Blob, prominent_blobs, scope_within
from .refinement import REFINEMENTS, refine_candidate
from .residual_maps import activation_change, layer_features, residual_maps

__all__ = [
    'PHASE_WINDOW_HU',
    'REFINEMENTS',
    'Blob',
    'CandidateScreen',
    'activation_change',
    'chance_masks',
    'layer_features',
    'map_peak',
    'nodule_candidates',
    'phase_means',
    'potts_energy',
    'prominent_blobs',
    'refine_candidate',
    'residual_maps',
    'scope_within',
    'segment_phases',
    'shift_map',
    'smaller_parts',
]
