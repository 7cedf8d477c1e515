"""Areas under curves and best Dice of pixels ranked by a map."""

from dataclasses import dataclass

import numpy as np

from .map_and_mask import map_and_mask


@dataclass(frozen=True)
class PixelRanking:
    """Numbers of pixels inside and outside of a mask by value of a map.

    There is one entry for each distinct value (or bin of a histogram) in descending
    order. Values without a pixel inside the mask may be omitted, because they change
    neither the areas under the curves nor the best Dice.

    Attributes:
        values: Distinct values. A threshold marks pixels of at least this value.
        inside: Number of pixels inside the mask with this value.
        beside: Number of pixels outside the mask with this value.
        beside_above: Number of pixels outside the mask with a larger value.
        num_inside: Number of pixels inside the mask.
        num_pixels: Number of all pixels.

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
        """Fraction of the mask in all pixels, which is the AUPRC of random guessing."""
        return self.num_inside / self.num_pixels if self.num_pixels else np.nan

    @property
    def auprc(self) -> float:
        r"""Area under the precision-recall curve, in [0, 1], higher is better.

        ``sum_n (R_n - R_{n-1}) P_n`` over the distinct values, without
        interpolation: scikit-learn's ``average_precision_score``. Guessing gives
        the prevalence, not 0.5. NaN if the mask is empty.
        """
        if not self.num_inside:
            return np.nan
        hits, predicted = self._cumulative_counts()
        return float(np.sum(self.inside * (hits / predicted)) / self.num_inside)

    @property
    def auroc(self) -> float:
        """Area under the ROC curve, in [0, 1], higher is better; guessing is 0.5.

        Probability that a pixel inside the mask has a larger value than a pixel
        outside; ties count one half. NaN if there are no pixels of either kind.
        """
        num_beside = self.num_pixels - self.num_inside
        if not (self.num_inside and num_beside):
            return np.nan
        above = self.beside_above + self.beside / 2
        return float(1 - np.sum(self.inside * above) / self.num_inside / num_beside)

    def best_dice(self) -> tuple[float, float]:
        """Return the largest Dice over all thresholds, and its threshold.

        The IoU, ``dice / (2 - dice)``, is largest at the same threshold. The threshold
        is chosen with the mask, so the result is an upper bound. To report the Dice of
        a method, choose the threshold on other images.

        Returns:
            Dice in [0, 1] and the smallest marked value; both NaN if the mask is empty.
        """
        if not self.num_inside:
            return np.nan, np.nan
        hits, predicted = self._cumulative_counts()
        dice = 2 * hits / (predicted + self.num_inside)
        best = int(np.argmax(dice))
        return float(dice[best]), float(self.values[best])

    def _cumulative_counts(self) -> tuple[np.ndarray, np.ndarray]:
        hits = np.cumsum(self.inside)
        return hits, hits + self.beside_above + self.beside


def rank_pixels(activation: np.ndarray, mask: np.ndarray) -> PixelRanking:
    """Rank the pixels of one map by sorting.

    Args:
        activation: Map; higher values mean lesion.
        mask: Mask of the lesion.

    Shape:
        - activation, mask: any shape, but the same.

    Returns:
        Ranking with the distinct values inside the mask.

    Raises:
        ValueError: If the shapes differ, or a value is NaN or infinite.
    """
    activation, mask = map_and_mask(activation, mask)
    inside = np.sort(activation[mask])
    everything = np.sort(activation, axis=None)
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
