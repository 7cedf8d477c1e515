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

    Required and changed key: ``img``, float32 afterwards.

    Args:
        sigma_px (float): Deviation of the Gaussian, in pixels of the picture as it
            arrives.

    Raises:
        ValueError: If ``sigma_px`` is not above 0.
    """

    def __init__(self, sigma_px: float) -> None:
        if not sigma_px > 0:
            raise ValueError('SubtractBackground: sigma_px must be above 0, got '
                             f'{sigma_px}.')
        self.sigma_px = float(sigma_px)

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
        blurred = cv2.GaussianBlur(
            img, (0, 0), self.sigma_px, borderType=cv2.BORDER_REPLICATE)
        results['img'] = img - blurred.reshape(img.shape)
        return results

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(sigma_px={self.sigma_px})'
