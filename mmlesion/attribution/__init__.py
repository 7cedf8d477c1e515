"""Attribution methods, which compute maps of the evidence for a score, in torch only.

>>> from mmlesion.attribution import GradCAM, normalise_map, resize_map
>>> with GradCAM(model, layers=['backbone.layer4']) as cam:
...     maps = cam(images, targets)  # raw, (B, K, h, w)
>>> picture = normalise_map(resize_map(maps, images.shape[-2:]), 'image')
"""

from .attention import AttentionMap, AttentionRollout
from .base import ActivationMap
from .cam import CAM
from .control import CenterMap, EdgeMap, IntensityMap, RandomMap
from .default_layer import last_feature_layer
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
from .parameter_randomisation import RandomisedLayer, randomise_parameters
from .picture import normalise_map, resize_map
from .road import road
from .score import ScoreCAM
from .slice_importance import SliceImportance
from .soft import HESAM, SoftActivationMap
from .stability import map_similarity, max_sensitivity

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
    'RandomisedLayer',
    'ScoreCAM',
    'SliceImportance',
    'SmoothGrad',
    'SoftActivationMap',
    'insertion_deletion',
    'last_feature_layer',
    'map_similarity',
    'max_sensitivity',
    'normalise_map',
    'randomise_parameters',
    'resize_map',
    'road',
]
