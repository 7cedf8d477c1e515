"""Lesion types as targets of an auxiliary head."""

import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadLesionTypes(BaseTransform):
    """Coarse type of each lesion, for :class:`mmlesion.models.LesionTypeRoIHead`.

    DeepLesion has eight types: bone, abdomen, mediastinum, liver, lung, kidney, soft
    tissue, pelvis. The official training split has no types (-1). The transform must be
    placed behind ``LoadAnnotations`` and before any transform that removes boxes, and
    :class:`PackCTInputs` hands the types over as ``gt_instances.lesion_types``.

    Required key: ``instances``, each with ``lesion_type`` (1 to 8, or -1) or without.
    Added key: ``gt_lesion_types``, (L,) int64: 0 to 7, or -1 for an unknown type.
    """

    def transform(self, results: dict) -> dict:
        """Add the types.

        Args:
            results: The sample.
        """
        types = [each.get('lesion_type') for each in results['instances']]
        results['gt_lesion_types'] = np.array(
            [-1 if kind is None or kind < 1 else kind - 1 for kind in types], np.int64
        )
        return results
