"""Loading of the patches of a nodule."""

import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.ct.nodule_patches import INPUT_PLANES, read_nodule_patches
from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadNodulePatch(BaseTransform):
    """Read the patches of a nodule as the channels of an image.

    Required keys: ``img_path``. Added keys: ``img`` (HU, float32), ``mask``
    (the 50 % consensus, uint8, one plane per channel), ``img_shape``,
    ``ori_shape``.

    Source: Lei et al., *Soft Activation Mapping of Lung Nodules in Low-dose CT
    Images*, arXiv 1810.12494, Tab. 2.

    Args:
        inputs: ``'1c'``: the slice through the center of the nodule, in a square
            of 2 diameters; ``'3c'``: this slice in squares of 2, 3 and 4
            diameters; ``'11c'`` and ``'21c'``: 11 or 21 slices at a distance of 1 mm,
            from -z to +z, in squares of 2 diameters.

    Raises:
        ValueError: If ``inputs`` is unknown.
    """

    def __init__(self, inputs: str = '11c') -> None:
        if inputs not in INPUT_PLANES:
            raise ValueError(
                'inputs must be one of '
                f'{", ".join(map(repr, INPUT_PLANES))}, but is '
                f'{inputs!r}'
            )
        self.inputs = inputs

    def transform(self, results: dict) -> dict:
        """Read ``results['img_path']``.

        Args:
            results: The sample.

        Shape:
            - img, mask: (32, 32, C) with C of 1, 3, 11 or 21.

        Returns:
            The sample.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If it is damaged.
        """
        image, mask = read_nodule_patches(results['img_path'], self.inputs)
        results['img'] = np.ascontiguousarray(image.transpose(1, 2, 0), np.float32)
        results['mask'] = np.ascontiguousarray(mask.transpose(1, 2, 0))
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(inputs={self.inputs!r})'
