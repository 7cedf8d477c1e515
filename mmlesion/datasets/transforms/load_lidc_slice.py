"""Loading of an LIDC-IDRI slice and its nodule mask."""

import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.ct import SliceArchive
from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadLIDCSlice(BaseTransform):
    """Read an axial slice of ``mmlesion.LIDCSliceDataset``.

    Required keys: ``img_path``, ``slice_number``, ``mask_path`` (absent for a slice
    without a nodule). Added keys: ``img`` (HU, float32), ``img_shape``,
    ``ori_shape`` and, with masks, ``mask`` (uint8, 0 outside, 1, 2, ... for the
    nodules).

    Args:
        channels: Number of copies of the slice. Weights that were trained on natural
            images need 3.
        with_mask: Whether to read the mask.

    Raises:
        ValueError: If ``channels`` is below 1.
    """

    def __init__(self, channels: int = 1, with_mask: bool = False) -> None:
        if channels < 1:
            raise ValueError(
                f'LoadLIDCSlice needs at least one channel, got {channels}'
            )
        self.channels = channels
        self.with_mask = with_mask

    def transform(self, results: dict) -> dict:
        """Read ``results['img_path']``.

        Args:
            results: The sample.

        Shape:
            - img: (H, W, channels)
            - mask: (H, W, 1)

        Returns:
            The sample.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If the file is damaged or does not contain the slice.
        """
        number = results['slice_number']
        slice_hu = _read(results['img_path'], number)
        results['img'] = np.repeat(
            slice_hu.astype(np.float32)[:, :, None], self.channels, axis=2
        )
        results['img_shape'] = results['ori_shape'] = slice_hu.shape
        if self.with_mask:
            nodules = np.zeros_like(slice_hu)
            if 'mask_path' in results:
                nodules = _read(results['mask_path'], number)
            # Nodules are numbered within the series. Renumber them from 1 in the same
            # order.
            _, places = np.unique(np.append(0, nodules), return_inverse=True)
            results['mask'] = places[1:].reshape(*nodules.shape, 1).astype(np.uint8)
        return results

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(channels={self.channels}, '
            f'with_mask={self.with_mask})'
        )


def _read(path: str, number: int) -> np.ndarray:
    with SliceArchive(path) as archive:
        if number not in archive.stored:
            raise ValueError(
                f'{path}: there is no slice {number}; prepare the data again'
            )
        return archive.read(number)
