"""Loading of radiographs."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.ct import read_radiograph
from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadRadiograph(BaseTransform):
    """Read a radiograph and scale its gray values to a fixed range.

    Gray values of radiographs have no unit and differ between devices. The smallest
    value of each image is mapped to the lower end of the range, the largest value to
    the upper end. Behrendt et al. do not specify the scaling.

    Required keys: ``img_path``. Added keys: ``img`` (float32), ``img_shape``,
    ``ori_shape``.

    Args:
        channels: Number of copies of the image along the channels. Weights that were
            trained on natural images need 3.
        out_range: Gray values of the darkest and brightest pixel.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not a radiograph, or an argument is out of range.
    """

    def __init__(
        self, channels: int = 3, out_range: Sequence[float] = (0, 255)
    ) -> None:
        if channels < 1 or len(out_range) != 2 or not out_range[0] < out_range[1]:
            raise ValueError(
                'LoadRadiograph needs at least one channel and an ascending '
                f'out_range, got {channels} and {out_range!r}'
            )
        self.channels = channels
        self.out_range = tuple(map(float, out_range))

    def transform(self, results: dict) -> dict:
        """Read ``results['img_path']``.

        Args:
            results: The sample.

        Shape:
            - img: (H, W, channels)

        Returns:
            dict: The sample.
        """
        pixels = read_radiograph(results['img_path'])
        low, high = pixels.min(), pixels.max()
        first, last = self.out_range
        pixels -= low
        # A constant image is mapped to the lower end.
        pixels *= (last - first) / (high - low) if high > low else 0
        pixels += np.float32(first)
        results['img'] = np.repeat(pixels[:, :, None], self.channels, axis=2)
        results['img_shape'] = results['ori_shape'] = pixels.shape
        return results

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(channels={self.channels}, '
            f'out_range={self.out_range})'
        )
