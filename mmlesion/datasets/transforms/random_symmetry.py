"""Augmentation by the symmetries of the square."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomSymmetry(BaseTransform):
    """Apply a random symmetry of the square to a patch, and reverse its slices.

    One of the eight flips and quarter turns is drawn with equal probability. With
    ``flip_slices``, the order of the slices is reversed with probability 0.5. Nodules
    have no preferred orientation, and no interpolation is needed. For a patch that is
    not square, only the four flips are drawn.

    Required keys: img, and mask if there is one.

    Modified keys: img, mask.

    Args:
        flip_slices: Whether to reverse the channels. Set it to False if the channels
            are scales instead of slices.
        prob: Probability of applying the transform.

    Shape:
        - img, mask: (H, W, C), before and after

    Raises:
        ValueError: If ``prob`` is not between 0 and 1.
    """

    def __init__(self, flip_slices: bool = True, prob: float = 1.0) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(
                f'RandomSymmetry: prob must be between 0 and 1, got {prob}.'
            )
        self.flip_slices = flip_slices
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Transform the patch and its mask in the same way."""
        height, width = results['img'].shape[:2]
        symmetry = self._draw(height == width)
        for key in ('img', 'mask'):
            if key in results:
                results[key] = apply_symmetry(results[key], *symmetry)
        return results

    @cache_randomness
    def _draw(self, is_square: bool) -> tuple:
        if np.random.rand() >= self.prob:
            return 0, False, False
        turns = np.random.randint(4) if is_square else 2 * np.random.randint(2)
        mirror, reverse = np.random.randint(2, size=2).astype(bool)
        return int(turns), bool(mirror), bool(reverse and self.flip_slices)


def apply_symmetry(
    img: np.ndarray, turns: int, mirror: bool, reverse: bool
) -> np.ndarray:
    """Rotate an image by quarter turns, mirror it, and reverse its channels.

    The operations are applied in this order.

    Args:
        img: The image.
        turns: Number of counterclockwise quarter turns.
        mirror: Whether to exchange left and right.
        reverse: Whether to reverse the order of the channels.

    Returns:
        A copy.

    Shape:
        - img: (H, W, C)
    """
    img = np.rot90(img, turns)
    if mirror:
        img = img[:, ::-1]
    if reverse:
        img = img[..., ::-1]
    # Unlike copy(), ascontiguousarray keeps the negative stride of an axis of length 1.
    return img.copy()
