"""Pseudo-masks from RECIST diameters."""

import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RECISTToMask(BaseTransform):
    """Pseudo-masks from the two diameters of each lesion, for detectors with a mask
    head.

    The outline consists of four quarter ellipses through the four ends of the
    diameters, around their crossing. A lesion without diameters becomes the ellipse in
    its box. The transform stands before ``LoadAnnotations(with_mask=True)``.

    Source: Tang et al., "ULDor: A Universal Lesion Detector for CT Scans with Pseudo
    Masks and Hard Negative Example Mining", ISBI 2019, Sec. 2.1 (one ellipse there).

    Required key: ``instances``, each with ``bbox`` and ``recist_px`` (optional): x and
    y of both ends of the long diameter, then of the short diameter.
    Modified key: ``instances``, each with ``mask``, a list of one polygon as in COCO.

    Args:
        num_points: Points of an outline, a multiple of 4.

    Raises:
        ValueError: If ``num_points`` is no positive multiple of 4.
    """

    def __init__(self, num_points: int = 64) -> None:
        if num_points < 4 or num_points % 4:
            raise ValueError(
                'RECISTToMask: num_points must be a positive multiple of 4, but is '
                f'{num_points}'
            )
        self.num_points = num_points

    def transform(self, results: dict) -> dict:
        """Add a polygon to each lesion.

        Args:
            results: The sample.

        Returns:
            The sample; its list of instances is new.
        """
        results['instances'] = [
            dict(instance, mask=[self._outline(instance).ravel().tolist()])
            for instance in results['instances']
        ]
        return results

    def _outline(self, instance: dict) -> np.ndarray:
        """Return the outline of a lesion, (num_points, 2), x and y in pixels."""
        ends = instance.get('recist_px')
        if ends is None:
            x1, y1, x2, y2 = instance['bbox']
            x, y = (x1 + x2) / 2, (y1 + y2) / 2
            ends = (x1, y, x2, y, x, y1, x, y2)
        ends = np.asarray(ends, float).reshape(4, 2)
        center = _crossing(ends)
        long_1, long_2, short_1, short_2 = ends - center
        angle = np.arange(self.num_points) * (2 * np.pi / self.num_points)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        along = np.where(cos >= 0, cos * long_1, -cos * long_2)
        across = np.where(sin >= 0, sin * short_1, -sin * short_2)
        return center + along + across

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(num_points={self.num_points})'


def _crossing(ends: np.ndarray) -> np.ndarray:
    """Return where two diameters cross; the mean of their ends if they do not.

    Args:
        ends: (4, 2), both ends of the first diameter, then of the second.
    """
    first, second = ends[1] - ends[0], ends[3] - ends[2]
    determinant = first[0] * second[1] - first[1] * second[0]
    if abs(determinant) > 1e-6:
        offset = ends[2] - ends[0]
        part = (offset[0] * second[1] - offset[1] * second[0]) / determinant
        if 0 <= part <= 1:
            return ends[0] + part * first
    return ends.mean(0)
