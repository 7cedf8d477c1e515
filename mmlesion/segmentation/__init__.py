"""Segmentation of nodules from activation maps.

>>> from mmlesion.segmentation import (
...     nodule_candidates, phase_means, prominent_blobs)
>>> scope = prominent_blobs(nodule_map)[0].mask
>>> candidates = nodule_candidates(image_hu, scope, phase_means(image_hu), 100.0**2)

The package needs NumPy, SciPy and scikit-image, and torch for :func:`residual_maps`,
which selects the candidate. It does not need OpenMMLab.
"""

from .candidates import nodule_candidates
from .icm import potts_energy, segment_phases
from .phase_means import PHASE_WINDOW_HU, phase_means
from .prominent_blobs import Blob, prominent_blobs, scope_within
from .residual_maps import activation_change, residual_maps

__all__ = [
    'PHASE_WINDOW_HU',
    'Blob',
    'activation_change',
    'nodule_candidates',
    'phase_means',
    'potts_energy',
    'prominent_blobs',
    'residual_maps',
    'scope_within',
    'segment_phases',
]
