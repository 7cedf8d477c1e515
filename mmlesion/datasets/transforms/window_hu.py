"""Windowing of a slice stack."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.ct import FULL_WINDOW_HU, window_hu
from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class WindowHU(BaseTransform):
    """Map a window of HU linearly to a range of gray values, and clip.

    Required keys: ``img`` (HU). Modified keys: ``img`` (float32, not rounded).

    For the equation see :func:`mmlesion.ct.window_hu`. Air is mapped to the lower
    end of the range, which later transforms may use for padding.

    Args:
        window: Lower and upper end in HU. Defaults to
            (-1024, 3071), Yan et al., 3DCE, Sec. 3.
        out_range: Gray values of the two ends.

    Raises:
        ValueError: If the window is empty.
    """

    def __init__(
        self,
        window: Sequence[float] = FULL_WINDOW_HU,
        out_range: Sequence[float] = (0, 255),
    ) -> None:
        window_hu(np.zeros(1), window, out_range)  # check the arguments
        self.window = tuple(window)
        self.out_range = tuple(out_range)

    def transform(self, results: dict) -> dict:
        """Apply the window to ``results['img']``.

        Args:
            results: The sample.

        Shape:
            - img: (H, W, C), before and after.

        Returns:
            The sample.
        """
        # Not in place: on a crop, a new contiguous array is faster than NumPy's clip.
        results['img'] = window_hu(results['img'], self.window, self.out_range)
        return results

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(window={self.window}, '
            f'out_range={self.out_range})'
        )
