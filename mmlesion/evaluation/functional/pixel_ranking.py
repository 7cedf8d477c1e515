"""Areas under curves and best overlap of pixels ranked by a map."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PixelRanking:
    """How many pixels of a mask, and beside it, have each value of a map.

    One entry for each distinct value (of a histogram: each bin), falling. Values
    that no pixel of the mask has may be left out: they change neither the area
    under the precision-recall curve, nor under the ROC curve, nor the best overlap.

    Attributes:
        values: The values; "show this pixel" means "at least the value".
        inside: Pixels of the mask with this value.
        beside: Pixels beside the mask with this value.
        beside_above: Pixels beside the mask with a greater value.
        num_inside: Pixels of the mask.
        num_pixels: All pixels.

    Shape:
        - values, inside, beside, beside_above: (U,)
    """

    values: np.ndarray
    inside: np.ndarray
    beside: np.ndarray
    beside_above: np.ndarray
    num_inside: int
    num_pixels: int

    @property
    def prevalence(self) -> float:
        """Share of the mask in all pixels: the AUPRC of guessing. NaN without any."""
        return self.num_inside / self.num_pixels if self.num_pixels else np.nan

    @property
    def auprc(self) -> float:
        r"""Area under the precision-recall curve, in [0, 1], higher is better.

        ``sum_n (R_n - R_{n-1}) P_n`` over the distinct values, without
        interpolation: scikit-learn's ``average_precision_score``. Guessing gives
        the prevalence, not 0.5. NaN without a pixel in the mask.
        """
        if not self.num_inside:
            return np.nan
        hits, shown = self._hits_and_shown()
        return float(np.sum(self.inside * (hits / shown)) / self.num_inside)

    @property
    def auroc(self) -> float:
        """Area under the ROC curve, in [0, 1], higher is better; guessing is 0.5.

        The chance that a pixel of the mask has a greater value than one beside it,
        equal values counting one half. NaN if either kind is missing.
        """
        num_beside = self.num_pixels - self.num_inside
        if not (self.num_inside and num_beside):
            return np.nan
        above = self.beside_above + self.beside / 2
        return float(1 - np.sum(self.inside * above) / self.num_inside / num_beside)

    def best_dice(self) -> tuple[float, float]:
        """Greatest Dice over all thresholds, and its threshold.

        The IoU is greatest at the same threshold, being ``dice / (2 - dice)``.
        Chosen with the mask in hand, so it is what a map could reach at most; to
        report what a method reaches, take the threshold from other images.

        Returns:
            Dice in [0, 1] and the threshold ("at least");
            both NaN without a pixel in the mask.
        """
        if not self.num_inside:
            return np.nan, np.nan
        hits, shown = self._hits_and_shown()
        dice = 2 * hits / (shown + self.num_inside)
        best = int(np.argmax(dice))
        return float(dice[best]), float(self.values[best])

    def _hits_and_shown(self) -> tuple[np.ndarray, np.ndarray]:
        hits = np.cumsum(self.inside)
        return hits, hits + self.beside_above + self.beside


def rank_pixels(activation: np.ndarray, mask: np.ndarray) -> PixelRanking:
    """Rank the pixels of one map exactly, by sorting.

    Args:
        activation: Finite values, higher means lesion.
        mask: True on the lesion.

    Shape:
        - activation, mask: any, the same.

    Returns:
        With the distinct values inside the mask.
    """
    activation = np.asarray(activation).ravel()
    inside = np.sort(activation[np.asarray(mask, dtype=bool).ravel()])
    everything = np.sort(activation)
    values, first = np.unique(inside, return_index=True)
    count = np.diff(np.r_[first, len(inside)])
    low = np.searchsorted(everything, values, side='left')
    high = np.searchsorted(everything, values, side='right')
    inside_above = len(inside) - first - count
    return PixelRanking(
        values=values[::-1],
        inside=count[::-1],
        beside=(high - low - count)[::-1],
        beside_above=(len(everything) - high - inside_above)[::-1],
        num_inside=len(inside),
        num_pixels=len(everything),
    )
