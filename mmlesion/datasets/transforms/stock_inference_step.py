"""The step that mmdet's inferencer looks for in a pipeline."""

from mmcv.transforms import BaseTransform

from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module(name='LoadImageFromFile')
class StockInferenceStep(BaseTransform):
    """Return the sample as it is.

    mmdet's ``DetInferencer`` requires a step of type ``LoadImageFromFile`` and
    replaces it by its own loader, which reads 8-bit pictures only. In this package
    :class:`LoadSliceStack` reads the files, so this step stands behind the packing,
    as ``dict(type='LoadImageFromFile', _scope_='mmlesion')``. The loader of mmdet
    finds no image in a packed sample and calls this class again.
    """

    def transform(self, results: dict) -> dict:
        """Return the sample.

        Args:
            results: The packed sample.
        """
        return results
