"""Registered model parts, in folders named as in MMDetection.

The parts that build on MMDetection are imported only if MMDetection is installed. The
classification heads are imported only if MMPretrain is installed.
"""

from importlib.util import find_spec

from . import backbones, layers, necks  # noqa: F401

if find_spec('mmdet') is not None:
    from . import data_preprocessors, detectors, roi_heads, task_modules  # noqa: F401
if find_spec('mmpretrain') is not None:
    from . import heads, segmentors  # noqa: F401
