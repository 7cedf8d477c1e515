"""Stacking of several HU windows of the same slices."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.ct import window_hu
from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class MixWindowsHU(BaseTransform):
    """Apply several HU windows to the slices and stack the results as channels.

    Required keys: ``img`` (HU). Modified keys: ``img`` (float32, not rounded).

    Source: Wu et al., arXiv 1802.03584: radiologists change width and center of
    the window for uncertain nodules, so several are mixed. Which ones, and how,
    their abstract does not say.

    Args:
        windows: Lower and upper end of each in HU.
        out_range: Gray values of the two ends.

    Raises:
        ValueError: If there is no window, or one is empty.
    """

    def __init__(
        self, windows: Sequence[Sequence[float]], out_range: Sequence[float] = (0, 255)
    ) -> None:
        if not len(windows):
            raise ValueError('MixWindowsHU needs at least one window')
        for window in windows:
            window_hu(np.zeros(1), window, out_range)  # check the arguments
        self.windows = [tuple(window) for window in windows]
        self.out_range = tuple(out_range)

    def transform(self, results: dict) -> dict:
        """Apply the windows to ``results['img']``.

        Args:
            results: The sample.

        Shape:
            - img: (H, W, C) before, (H, W, K * C) after; the C slices in the first
              of the K windows come first.

        Returns:
            The sample.
        """
        results['img'] = np.concatenate(
            [
                window_hu(results['img'], window, self.out_range)
                for window in self.windows
            ],
            axis=-1,
        )
        return results

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(windows={self.windows}, '
            f'out_range={self.out_range})'
        )
