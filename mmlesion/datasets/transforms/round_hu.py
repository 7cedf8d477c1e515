"""Conversion of HU to int16."""

import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.registry import TRANSFORMS

_INT16 = np.iinfo(np.int16)


@TRANSFORMS.register_module()
class RoundHU(BaseTransform):
    """Round HU to int16, which halves memory and transfer compared with float32.

    It is meant for pipelines whose windows are applied on the device by
    :class:`CTDataPreprocessor`. The error of at most 0.5 HU is 0.03 of 255 gray values
    in the window of 4095 HU.

    Required keys: ``img`` (HU). Modified keys: ``img`` (int16).
    """

    def transform(self, results: dict) -> dict:
        """Round ``results['img']``.

        Args:
            results: The sample.

        Shape:
            - img: (H, W, S), before and after.

        Returns:
            The sample.
        """
        image = results['img']
        if image.dtype != np.int16:
            image = np.clip(np.rint(image), _INT16.min, _INT16.max).astype(np.int16)
        results['img'] = image
        return results

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}()'
