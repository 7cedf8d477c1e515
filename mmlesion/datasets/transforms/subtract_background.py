"""Removal of the slowly varying background of a radiograph."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SubtractBackground(BaseTransform):
    """Subtract the Gaussian blur of an image from the image.

    The result contains structures that are smaller than the blur: in a radiograph,
    vessels, edges and nodules, but not the thickness of the body. With ``smooth_px``,
    the blur is subtracted from a narrower blur (difference of Gaussians), which also
    removes noise and the finest vessels.

    Required and modified key: ``img``, float32 afterward.

    Args:
        sigma_px: Standard deviation of the Gaussian in pixels of the input.
        smooth_px: Standard deviation of the narrower Gaussian; 0 disables it.

    Raises:
        ValueError: If ``sigma_px`` is not above 0, or ``smooth_px`` is negative or not
            below ``sigma_px``.
    """

    def __init__(self, sigma_px: float, smooth_px: float = 0) -> None:
        if not sigma_px > 0:
            raise ValueError(
                f'SubtractBackground: sigma_px must be above 0, got {sigma_px}.'
            )
        if not 0 <= smooth_px < sigma_px:
            raise ValueError(
                'SubtractBackground: smooth_px must be at least 0 and below '
                f'sigma_px={sigma_px}, got {smooth_px}.'
            )
        self.sigma_px = float(sigma_px)
        self.smooth_px = float(smooth_px)

    def transform(self, results: dict) -> dict:
        """Subtract the background of ``results['img']``.

        Args:
            results: The sample.

        Shape:
            - img: (H, W) or (H, W, channels)

        Returns:
            The sample.
        """
        img = np.asarray(results['img'], np.float32)
        smooth = _blur(img, self.smooth_px) if self.smooth_px else img
        results['img'] = smooth - _blur(img, self.sigma_px)
        return results

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(sigma_px={self.sigma_px}, '
            f'smooth_px={self.smooth_px})'
        )


def _blur(img: np.ndarray, sigma_px: float) -> np.ndarray:
    return cv2.GaussianBlur(
        img, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE
    ).reshape(img.shape)
