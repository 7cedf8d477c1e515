"""Attribution methods, which compute maps of the evidence for a score, in torch only.

>>> from mmlesion.attribution import GradCAM, normalize_map, resize_map
>>> with GradCAM(model, layers=['backbone.layer4']) as cam:
...     maps = cam(images, targets)  # raw, (B, K, h, w)
>>> picture = normalize_map(resize_map(maps, images.shape[-2:]), 'image')
"""

from typing import TYPE_CHECKING

from mmlesion.deprecation import old_names

from .attention import AttentionMap, AttentionRollout
from .base import ActivationMap
from .cam import CAM
from .control import CenterMap, EdgeMap, IntensityMap, RandomMap
from .default_layer import finer_feature_layer, last_feature_layer
from .eigen import EigenCAM
from .gradient import (
    ODAM,
    GradCAM,
    GradCAMPlusPlus,
    GradientMap,
    HiResCAM,
    LayerCAM,
)
from .input_gradient import IntegratedGradients, SmoothGrad
from .insertion_deletion import InsertionDeletion, insertion_deletion
from .legrad import LeGrad
from .occlusion import Occlusion
from .parameter_randomization import RandomizedLayer, randomize_parameters
from .picture import normalize_map, resize_map
from .road import road
from .score import ScoreCAM
from .slice_importance import SliceImportance
from .soft import HESAM, SoftActivationMap
from .stability import map_similarity, max_sensitivity
from .two_scale import TwoScaleCAM

__all__ = [
    'CAM',
    'HESAM',
    'ODAM',
    'ActivationMap',
    'AttentionMap',
    'AttentionRollout',
    'CenterMap',
    'EdgeMap',
    'EigenCAM',
    'GradCAM',
    'GradCAMPlusPlus',
    'GradientMap',
    'HiResCAM',
    'InsertionDeletion',
    'IntegratedGradients',
    'IntensityMap',
    'LayerCAM',
    'LeGrad',
    'Occlusion',
    'RandomMap',
    'RandomizedLayer',
    'ScoreCAM',
    'SliceImportance',
    'SmoothGrad',
    'SoftActivationMap',
    'TwoScaleCAM',
    'finer_feature_layer',
    'insertion_deletion',
    'last_feature_layer',
    'map_similarity',
    'max_sensitivity',
    'normalize_map',
    'randomize_parameters',
    'resize_map',
    'road',
]

if not TYPE_CHECKING:
    __getattr__ = old_names(
        __name__,
        normalise_map='mmlesion.attribution:normalize_map',
        randomise_parameters='mmlesion.attribution:randomize_parameters',
        RandomisedLayer='mmlesion.attribution:RandomizedLayer',
    )
