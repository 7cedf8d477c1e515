"""One mask of a nodule out of several readers' ones."""

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813

#: Voxels around a nodule that STAPLE looks at too.
MARGIN_MM = 10.0

# It settles in 5 to 40 rounds; a bound in case it swings
_MAX_ITERATIONS = 200


def staple_consensus(
    masks: np.ndarray, spacing_mm: Sequence[float], margin_mm: float = MARGIN_MM
) -> np.ndarray:
    """Merge readers' masks by STAPLE.

    An expectation-maximization of the true mask and of each reader's sensitivity
    and specificity; what is more likely than not belongs to the consensus. Its
    prior is the share of foreground in what it is shown, so that is always the box
    of all masks and a margin in mm: the result depends neither on the field of view
    nor on where in it the nodule lies.

    Source: Warfield et al., Simultaneous Truth and Performance Level Estimation
    (STAPLE), IEEE Trans. Med. Imaging 23(7), 2004, as Feng et al., MICCAI 2017,
    Sec. 3.1, use it; SimpleITK's filter. The margin is ours.

    Args:
        masks: One for each reader that outlined the nodule, bool.
        spacing_mm: Voxel size (z, y, x).
        margin_mm: See above.

    Shape:
        - masks: (R, D, H, W)
        - output: (D, H, W)

    Returns:
        The consensus, bool. One reader's mask is its own consensus.

    Raises:
        ValueError: If there is no mask, or nothing in them.
    """
    masks = np.asarray(masks, bool)
    if masks.ndim != 4 or not masks.any():
        raise ValueError(
            'STAPLE needs masks (R, D, H, W) with something in them, '
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
