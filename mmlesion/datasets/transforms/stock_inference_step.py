"""Pipeline step that mmdet's inferencer requires."""

from mmcv.transforms import BaseTransform

from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module(name='LoadImageFromFile')
class StockInferenceStep(BaseTransform):
    """Return the sample unchanged.

    mmdet's ``DetInferencer`` requires a step of type ``LoadImageFromFile`` and
    replaces it by its own loader, which reads only 8-bit images. In this package,
    :class:`LoadSliceStack` reads the files. This step is therefore placed after the
    packing, as ``dict(type='LoadImageFromFile', _scope_='mmlesion')``. The loader of
    mmdet finds no image in a packed sample and calls this class again.
    """

    def transform(self, results: dict) -> dict:
        """Return the sample.

        Args:
            results: The packed sample.
        """
        return results
