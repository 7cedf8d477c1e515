"""Packing of a slice stack for detectors of mmdet."""

from collections.abc import Sequence

import numpy as np
from mmdet.datasets.transforms import PackDetInputs

from mmlesion.registry import TRANSFORMS

#: Metadata of a slice stack for detectors, metrics and visualizers.
META_KEYS = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'crop_offset',
    'slice_shape',
    'flip',
    'flip_direction',
    'instances',
    'spacing_mm',
    'interval_mm',
    'patient',
    'series',
    'key_slice',
    'scan_geometry',
)


@TRANSFORMS.register_module()
class PackCTInputs(PackDetInputs):
    """Pack a sample as mmdet does, with the scale factor of all resizing steps.

    mmdet's ``Resize`` replaces ``scale_factor`` by its own factor. After another
    resizing step, predicted boxes would be scaled back by one of the two factors
    only. mmdet's transforms also multiply their geometry into
    ``homography_matrix``; this class takes the scale factor from there. The types of
    :class:`LoadLesionTypes` are packed as ``gt_instances.lesion_types``.

    Args:
        meta_keys: Keys of the sample that become metadata of the packed sample.
            Keys that are missing in a sample are ignored.
    """

    #: Whether ``scale_factor`` is the product of all resizing steps.
    packs_all_scales = True
    mapping_table = dict(PackDetInputs.mapping_table, gt_lesion_types='lesion_types')

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        super().__init__(meta_keys=tuple(meta_keys))

    def transform(self, results: dict) -> dict:
        """Pack a sample.

        Args:
            results: The sample.

        Returns:
            ``inputs``, a tensor (C, h, w), and ``data_samples``, a
            ``DetDataSample``.
        """
        matrix = results.get('homography_matrix')
        if matrix is not None and 'scale_factor' in results:
            # Lengths of the unit vectors along x and y after the mapping
            product = np.linalg.norm(np.asarray(matrix)[:2, :2], axis=0)
            if not np.allclose(product, results['scale_factor'], rtol=1e-5, atol=0):
                results['scale_factor'] = tuple(product.tolist())
        return super().transform(results)
