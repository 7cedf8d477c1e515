"""Augmentation that reverses the slice order."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomFlipZ(BaseTransform):
    """Reverse the order of the slices of a stack at random.

    The key slice remains in the middle, so boxes do not change. Use this transform
    before windows are stacked as channels.

    Required keys: ``img``. Modified keys: ``img``.

    Args:
        prob: Probability of the reversal.

    Raises:
        ValueError: If ``prob`` is not between 0 and 1.
    """

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'RandomFlipZ: prob must be between 0 and 1, got {prob}')
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Reverse the slices.

        Args:
            results: The sample.

        Shape:
            - img: (H, W, S), before and after.

        Returns:
            The sample.
        """
        if self._draw():
            results['img'] = results['img'][..., ::-1]
        return results

    @cache_randomness
    def _draw(self) -> bool:
        return bool(np.random.rand() < self.prob)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(prob={self.prob})'
