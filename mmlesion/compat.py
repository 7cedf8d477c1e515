"""What must be settled before the OpenMMLab packages are imported.

:mod:`mmlesion.registry` imports this module, so every config that names a
component of ours passes here, and so do the tools.
"""
import importlib.util

import torch


def declare_torchvision_operators():
    """Let ``import torchvision`` succeed where its compiled part cannot load.

    A torchvision wheel built for CUDA beside a CPU-only torch fails at import
    with ``operator torchvision::nms does not exist``, and mmpretrain (hence
    mmdet's model modules) imports torchvision. Declaring the schemas of the
    operators that its Python part decorates is enough for the import; the
    operators themselves stay unavailable, and nothing here uses them.
    """
    if importlib.util.find_spec('torchvision') is None:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if 'operator torchvision::' not in str(error):
            raise
        library = torch.library.Library('torchvision', 'FRAGMENT')
        for schema in (
                'nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
                'qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'):
            library.define(schema)
        declare_torchvision_operators.library = library  # keeps it registered
        import torchvision  # noqa: F401
