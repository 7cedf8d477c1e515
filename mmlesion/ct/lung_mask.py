"""The lungs of a scan as a mask."""
import cv2
import numpy as np

from .lung_regions import find_lungs
from .volume import CTVolume

#: Zusag et al., Sec. 2.1.
LUNG_THRESHOLD_HU = -570.0


def lung_mask(volume: CTVolume,
              method: str = 'threshold',
              threshold_hu: float = LUNG_THRESHOLD_HU,
              closing_mm: float = 5.0,
              opening_mm: float = 2.0) -> np.ndarray:
    """Segment the lungs.

    Args:
        volume (CTVolume): Axial slices in HU.
        method (str): ``'threshold'``.
        threshold_hu (float): Air is below it.
        closing_mm (float): Radius of the disc of the closing, in the slice.
        opening_mm (float): Radius of the disc of the opening, in the slice.

    Returns:
        np.ndarray: Boolean (D, H, W).

    Raises:
        ValueError: If slices are not axial, values not in HU, or there are no lungs.
    """
    if method != 'threshold':
        raise ValueError(f"method must be 'threshold', but is {method!r}")
    lungs, airways = find_lungs(volume, threshold_hu)
    for lung, airway in zip(lungs, airways):
        mask = lung.view(np.uint8)
        for step, radius in ((cv2.MORPH_CLOSE, closing_mm),
                             (cv2.MORPH_OPEN, opening_mm)):
            size = [2 * int(radius / one) + 1 for one in volume.spacing_mm[:0:-1]]
            mask = cv2.morphologyEx(
                mask, step, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, size))
        lung[:] = mask.view(bool) & ~airway
    return lungs
