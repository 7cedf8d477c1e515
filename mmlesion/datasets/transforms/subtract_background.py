"""Removal of what varies slowly in a picture."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SubtractBackground(BaseTransform):
    """Subtract from a picture its own Gaussian blur.

    What is left, positive and negative around 0, are things as small as the blur is
    wide: in a radiograph vessels, edges and nodules without the thickness of the body.
    With ``smooth_px`` a narrower blur is what it is subtracted from, which takes away
    noise and the finest vessels too: a difference of Gaussians.

    Required and changed key: ``img``, float32 afterwards.

    Args:
        sigma_px (float): Deviation of the Gaussian, in pixels of the picture as it
            arrives.
        smooth_px (float): Deviation of the narrower Gaussian; 0 for none.

    Raises:
        ValueError: If ``sigma_px`` is not above 0, or ``smooth_px`` not from 0 to
            below ``sigma_px``.
    """

    def __init__(self, sigma_px: float, smooth_px: float = 0) -> None:
        if not sigma_px > 0:
            raise ValueError(
                f'SubtractBackground: sigma_px must be above 0, got {sigma_px}.'
            )
        if not 0 <= smooth_px < sigma_px:
            raise ValueError(
                'SubtractBackground: smooth_px must be from 0 to below '
                f'sigma_px={sigma_px}, got {smooth_px}.'
            )
        self.sigma_px = float(sigma_px)
        self.smooth_px = float(smooth_px)

    def transform(self, results: dict) -> dict:
        """Subtract it from ``results['img']``.

        Args:
            results (dict): The sample.

        Shape:
            - img: (H, W) or (H, W, channels)

        Returns:
            dict: The sample.
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


def _blur(img, sigma_px):
    return cv2.GaussianBlur(
        img, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE
    ).reshape(img.shape)
