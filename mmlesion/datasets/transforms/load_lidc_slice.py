"""Loading of an LIDC-IDRI slice and its nodule mask."""

import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.ct import SliceArchive
from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadLIDCSlice(BaseTransform):
    """Read an axial slice of ``mmlesion.LIDCSliceDataset``.

    Required keys: ``img_path``, ``slice_number``, ``mask_path`` (absent in a slice
    without a nodule), and ``beside`` with the same keys for a second slice on the
    right. Added keys: ``img`` (HU, float32), ``img_shape``, ``ori_shape`` and, with
    masks, ``mask`` (uint8, 0 outside, else 1, 2, ... for each nodule).

    Args:
        channels: Number of copies of the slice; weights learned from photographs need
            3.
        with_mask: Read the mask too.

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
        """Read the pixels and masks of a sample.

        Args:
            results: The sample.

        Shape:
            - img: (H, W, channels)
            - mask: (H, W, 1)

        Returns:
            The sample.

        Raises:
            FileNotFoundError: If a file does not exist.
            ValueError: If a file is damaged or has no such slice, or two slices side by
                side have different sizes.
        """
        parts = [results, *([results['beside']] if 'beside' in results else [])]
        slice_hu = _beside(
            [_read(part['img_path'], part['slice_number']) for part in parts]
        )
        results['img'] = np.repeat(
            slice_hu.astype(np.float32)[:, :, None], self.channels, axis=2
        )
        results['img_shape'] = results['ori_shape'] = slice_hu.shape
        if self.with_mask:
            results['mask'] = self._mask(parts, slice_hu.shape)[..., None]
        return results

    def _mask(self, parts: list[dict], shape: tuple[int, ...]) -> np.ndarray:
        """Number the nodules of all parts from 1, uint8 (H, W)."""
        planes, count = [], 0
        for part in parts:
            nodules = np.zeros((shape[0], shape[1] // len(parts)), int)
            if 'mask_path' in part:
                nodules = _read(part['mask_path'], part['slice_number'])
            # Nodules are numbered through the series
            values, places = np.unique(np.append(0, nodules), return_inverse=True)
            numbers = places[1:].reshape(nodules.shape)
            planes.append(np.where(numbers > 0, numbers + count, 0))
            count += len(values) - 1
        return _beside(planes).astype(np.uint8)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(channels={self.channels}, '
            f'with_mask={self.with_mask})'
        )


def _beside(planes: list[np.ndarray]) -> np.ndarray:
    if len({plane.shape for plane in planes}) > 1:
        raise ValueError(
            'slices of one size were expected side by side, got '
            f'{[plane.shape for plane in planes]}'
        )
    return np.concatenate(planes, 1)


def _read(path: str, number: int) -> np.ndarray:
    with SliceArchive(path) as archive:
        if number not in archive.stored:
            raise ValueError(
                f'{path}: there is no slice {number}; prepare the data again'
            )
        return archive.read(number)
