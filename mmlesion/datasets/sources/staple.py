"""Consensus of several readers' masks by STAPLE."""

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813

#: Margin around a nodule that STAPLE takes into account.
MARGIN_MM = 10.0

# It converges in 5 to 40 iterations; this limit stops a possible oscillation.
_MAX_ITERATIONS = 200


def staple_consensus(
    masks: np.ndarray, spacing_mm: Sequence[float], margin_mm: float = MARGIN_MM
) -> np.ndarray:
    """Merge the masks of several readers by STAPLE.

    An expectation-maximization of the true mask and of each reader's sensitivity
    and specificity; pixels with a probability above one half belong to the consensus.
    The prior is the fraction of foreground in the input, which is always the box
    of all masks and a margin in mm: the result depends neither on the field of view
    nor on where in it the nodule lies.

    Source: Warfield et al., Simultaneous Truth and Performance Level Estimation
    (STAPLE), IEEE Trans. Med. Imaging 23(7), 2004, as used by Feng et al., MICCAI 2017,
    Sec. 3.1. The filter is SimpleITK's. The margin is our choice.

    Args:
        masks: Masks of the readers that outlined the nodule, bool.
        spacing_mm: Voxel size (z, y, x).
        margin_mm: Margin around the bounding box.

    Shape:
        - masks: (R, D, H, W)
        - output: (D, H, W)

    Returns:
        The consensus, bool. The consensus of one reader is the reader's mask.

    Raises:
        ValueError: If there are no masks, or all masks are empty.
    """
    masks = np.asarray(masks, bool)
    if masks.ndim != 4 or not masks.any():
        raise ValueError(
            'STAPLE needs non-empty masks of shape (R, D, H, W), '
            f'but they have shape {masks.shape}'
            + (' and are empty' if masks.ndim == 4 else '')
        )
    if len(masks) == 1:
        return masks[0]
    box = tuple(
        slice(places.min(), places.max() + 1) for places in np.nonzero(masks.any(0))
    )
    margins = [(round(margin_mm / spacing),) * 2 for spacing in spacing_mm]
    readers = [np.pad(mask[box], margins).astype(np.uint8) for mask in masks]
    probability = sitk.GetArrayFromImage(
        sitk.STAPLE(
            [sitk.GetImageFromArray(reader) for reader in readers],
            1.0,
            1.0,
            _MAX_ITERATIONS,
        )
    )
    inner = tuple(
        slice(margin, side - margin)
        for (margin, _), side in zip(margins, probability.shape)
    )
    consensus = np.zeros(masks.shape[1:], bool)
    consensus[box] = probability[inner] > 0.5
    return consensus
