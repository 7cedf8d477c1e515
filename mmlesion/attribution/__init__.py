"""Maps that show where a network's score comes from. Needs torch, nothing else.

>>> from mmlesion.attribution import GradCAM, normalise_map, resize_map
>>> with GradCAM(model, layers=['backbone.layer4']) as cam:
...     maps = cam(images, targets)  # raw, (B, K, h, w)
>>> picture = normalise_map(resize_map(maps, images.shape[-2:]), 'image')
"""

from .attention import AttentionMap, AttentionRollout
from .base import ActivationMap
from .cam import CAM
from .default_layer import last_feature_layer
from .gradient import GradCAM, GradCAMPlusPlus, GradientMap, LayerCAM
from .insertion_deletion import InsertionDeletion, insertion_deletion
from .parameter_randomisation import RandomisedLayer, randomise_parameters
from .picture import normalise_map, resize_map
from .score import ScoreCAM
from .soft import HESAM, SoftActivationMap

__all__ = [
    'CAM',
    'HESAM',
    'ActivationMap',
    'AttentionMap',
    'AttentionRollout',
    'GradCAM',
    'GradCAMPlusPlus',
    'GradientMap',
    'InsertionDeletion',
    'LayerCAM',
    'RandomisedLayer',
    'ScoreCAM',
    'SoftActivationMap',
    'insertion_deletion',
    'last_feature_layer',
    'normalise_map',
    'randomise_parameters',
    'resize_map',
]
