"""Measures of one map and one mask that use the order of the pixels."""

from typing import cast

import numpy as np
from scipy import ndimage

from .map_and_mask import map_and_mask
from .pixel_ranking import rank_pixels


def relevance_rank_accuracy(activation: np.ndarray, mask: np.ndarray) -> float:
    """Compute the fraction of the highest pixels that are on the lesion.

    The number of pixels is that of the mask. If ties leave open which pixels are
    the highest, the result is the expectation of a random choice among them.

    Source: Arras, Osman & Samek, "CLEVR-XAI", Information Fusion 2022, Eq. 6.

    Args:
        activation: The map.
        mask: True on the lesion.

    Shape:
        - activation, mask: any, the same.

    Returns:
        Value in [0, 1], higher is better; guessing gets the prevalence. NaN without a
        lesion.

    Raises:
        ValueError: If the shapes differ, or a value is NaN or infinite.
    """
    activation, mask = map_and_mask(activation, mask)
    values, inside = activation.ravel(), mask.ravel()
    count = int(inside.sum())
    if not count:
        return np.nan
    limit = np.partition(values, -count)[-count]
    above, equal = values > limit, values == limit
    share = (count - above.sum()) / equal.sum()
    return float((inside[above].sum() + share * inside[equal].sum()) / count)


def band_auprc(
    activation: np.ndarray, mask: np.ndarray, width_px: float = 2
) -> tuple[float, float]:
    """Compute the AUPRC of the pixels near the outline of the lesion.

    Only pixels at most ``width_px`` from the other side of the outline count, inside
    and outside. A map that marks the position of the lesion but not its outline gets
    about the prevalence.

    Args:
        activation: The map.
        mask: True on the lesion.
        width_px: Half of the width of the band (Euclidean distance in pixels).

    Shape:
        - activation, mask: (H, W)

    Returns:
        AUPRC and prevalence within the band, in [0, 1]; NaN where the mask has no
        outline.

    Raises:
        ValueError: If ``width_px`` is not positive, the shapes differ, or a value is
            NaN or infinite.
    """
    activation, mask = map_and_mask(activation, mask)
    band = _band(mask, width_px)
    if not band.any():
        return np.nan, np.nan
    ranking = rank_pixels(activation[band], mask[band])
    return ranking.auprc, ranking.prevalence


def band_gain(activation: np.ndarray, mask: np.ndarray, width_px: float = 2) -> float:
    """Compute how much of a map is near the outline of the lesion.

    This is the fraction of the positive part of the map within the band of
    :func:`band_auprc`, divided by the fraction of the pixels within the band. The
    band of an irregular lesion is larger, so the fraction alone would be larger as
    well.

    Args:
        activation: The map.
        mask: True on the lesion.
        width_px: Half of the width of the band (Euclidean distance in pixels).

    Shape:
        - activation, mask: (H, W)

    Returns:
        1 for a constant map, above 1 if the map is concentrated at the outline. NaN
        where the mask has no outline or the map has no positive value.

    Raises:
        ValueError: If ``width_px`` is not positive, the shapes differ, or a value is
            NaN or infinite.
    """
    activation, mask = map_and_mask(activation, mask)
    band = _band(mask, width_px)
    positive = np.maximum(activation, 0, dtype=np.float64)
    if not band.any() or not positive.any():
        return np.nan
    return float(positive[band].mean() / positive.mean())


def _band(mask: np.ndarray, width_px: float) -> np.ndarray:
    """Return the pixels near the outline; no pixel without an outline."""
    if not width_px > 0:
        raise ValueError(f'width_px must be positive, got {width_px}.')
    if not mask.any() or mask.all():
        return np.zeros(mask.shape, bool)
    distance = np.where(
        mask,
        cast(np.ndarray, ndimage.distance_transform_edt(mask)),
        cast(np.ndarray, ndimage.distance_transform_edt(~mask)),
    )
    return distance <= width_px


def sparseness(activation: np.ndarray) -> float:
    """Compute the Gini index of the absolute values of a map.

    The index is 0 if all pixels are equal, and near 1 if few pixels contain the whole
    map. It states whether a map is concentrated, not whether it is right.

    Source: Chalasani et al., "Concise Explanations of Neural Networks using Adversarial
    Training", ICML 2020, Sec. 4.

    Args:
        activation: The map, any shape.

    Returns:
        Value in [0, 1); NaN for a map of zeros or without a pixel.
    """
    values = np.sort(np.abs(np.asarray(activation, np.float64)).ravel())
    total = values.sum()
    if not total > 0:
        return np.nan
    order = 2 * np.arange(1, len(values) + 1) - len(values) - 1
    return float((order * values).sum() / (len(values) * total))
