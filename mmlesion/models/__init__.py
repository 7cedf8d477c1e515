"""Registered model parts, in folders named as in MMDetection.

Parts that build on MMDetection are imported where it is installed, and so are
the classification heads, which build on MMPretrain.
"""

from importlib.util import find_spec

from . import backbones, layers, necks  # noqa: F401

if find_spec('mmdet') is not None:
    from . import data_preprocessors, detectors, roi_heads, task_modules  # noqa: F401
if find_spec('mmpretrain') is not None:
    from . import classifiers, heads, losses, segmentors  # noqa: F401
