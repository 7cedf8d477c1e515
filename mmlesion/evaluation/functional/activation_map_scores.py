"""Localization measures of the maps of a data set."""

from typing import Any

import numpy as np

from mmlesion.deprecation import old_arguments

from .map_localization import LesionHits, energy_inside, lesion_hits, pointing_game
from .pixel_histogram import PixelHistogram
from .pixel_ranking import rank_pixels

# Measures whose mean and deviation over the images are kept.
IMAGE_NUMBERS = (
    'auprc',
    'auroc',
    'prevalence',
    'dice',
    'iou',
    'dice_best',
    'iou_best',
    'pointing_game',
    'energy_inside',
    'hit_rate',
    'false_spots',
)
_COUNTS = (
    'num_images',
    'num_skipped',
    'num_lesions',
    'num_hit',
    'num_false',
    'overlap',
    'predicted',
    'inside',
)


class ActivationMapScores:
    """Accumulate localization measures of maps over images.

    Images are added one at a time and are not stored. The sums of two processes can be
    added. Images without a lesion are omitted, as in the paper ("for the images
    containing nodules"). With ``with_empty``, their pixels count in the pooled numbers
    and their spots are counted as false spots. The means over images still use only
    images with lesions.

    Pooled numbers (``*_pooled``) treat all pixels as one image. They need maps that are
    comparable between images, and give large lesions more weight. Means over images
    (``*_mean``, with the deviation over the images ``*_std``) depend on the order
    within each image. The prevalence is reported because it is the AUPRC of
    random guessing.

    Source: Behrendt et al., Quantitative evaluation of activation maps for
    weakly-supervised lung nodule segmentation, Sec. 2.4 (pixel-wise AUPRC of maps
    normalized to 0..1: ``normalize='image'``).

    Args:
        threshold: Minimum value of a marked pixel for Dice, IoU and the hit rate.
        normalize: ``'none'`` uses the maps unchanged. ``'image'`` scales each map to
            0..1 by its smallest and largest value; a constant map becomes 0.
        tolerance_px: Maximum distance of a peak from a lesion that it hits, in pixels.
        with_empty: Whether to include images without a lesion.
        num_bins: See :class:`PixelHistogram`.

    Raises:
        ValueError: If ``normalize`` is unknown, ``threshold`` is NaN or
            ``tolerance_px`` is negative.
    """

    @old_arguments(normalise='normalize')
    def __init__(
        self,
        threshold: float = 0.5,
        normalize: str = 'none',
        tolerance_px: float = 0,
        with_empty: bool = False,
        num_bins: int = 2**20,
    ) -> None:
        if normalize not in ('none', 'image'):
            raise ValueError(f"normalize must be 'none' or 'image', got {normalize!r}.")
        if np.isnan(threshold) or not tolerance_px >= 0:
            raise ValueError(
                'threshold must be a number and tolerance_px at least 0, got '
                f'{threshold!r} and {tolerance_px!r}.'
            )
        self.settings: dict[str, Any] = dict(
            threshold=threshold,
            normalize=normalize,
            tolerance_px=tolerance_px,
            with_empty=with_empty,
            num_bins=num_bins,
        )
        self.histogram = PixelHistogram(num_bins)
        self.counts: dict[str, int] = dict.fromkeys(_COUNTS, 0)
        # Number of images, sum, sum of squares.
        self.sums = {name: np.zeros(3) for name in IMAGE_NUMBERS}

    def update(self, activation: np.ndarray, mask: np.ndarray) -> dict | None:
        """Add one image.

        Args:
            activation: Map of the image; higher values mean lesion.
            mask: Mask of the lesions.

        Shape:
            - activation, mask: (H, W)

        Returns:
            Measures of this image by the names in ``IMAGE_NUMBERS``, or None if it has
            no lesion.

        Raises:
            ValueError: If map and mask are not 2-D arrays of the same shape, or a
                value of the map is not finite.
        """
        activation = np.asarray(activation, dtype=np.float32)
        mask = np.asarray(mask, dtype=bool)
        if activation.ndim != 2 or activation.shape != mask.shape:
            raise ValueError(
                f'The map has shape {activation.shape} and its mask {mask.shape}; '
                'both must be the same (H, W).'
            )
        if not np.isfinite(activation).all():
            raise ValueError('The map has a value that is NaN or infinite.')
        if not mask.any() and not self.settings['with_empty']:
            self.counts['num_skipped'] += 1
            return None
        if self.settings['normalize'] == 'image' and activation.size:
            activation = _normalized(activation)
        self.histogram.update(activation, mask)
        threshold = self.settings['threshold']
        hits = lesion_hits(activation, mask, threshold, self.settings['tolerance_px'])
        predicted = activation >= threshold
        counted = dict(
            num_images=1,
            num_lesions=hits.num_lesions,
            num_hit=hits.num_hit,
            num_false=hits.num_false,
            overlap=int((predicted & mask).sum()),
            predicted=int(predicted.sum()),
            inside=int(mask.sum()),
        )
        for name, count in counted.items():
            self.counts[name] += count
        if not mask.any():
            return None
        numbers = self._numbers(activation, mask, hits, counted)
        for name, value in numbers.items():
            if not np.isnan(value):  # the AUROC of a mask that covers the image
                self.sums[name] += (1, value, value**2)
        return numbers

    def __add__(self, other: 'ActivationMapScores') -> 'ActivationMapScores':
        """Return the scores of the images of both operands."""
        if self.settings != other.settings:
            raise ValueError(
                'Scores can be added that have the same settings, not '
                f'{self.settings} and {other.settings}.'
            )
        total = ActivationMapScores(**self.settings)
        total.histogram = self.histogram + other.histogram
        total.counts = {
            name: self.counts[name] + other.counts[name] for name in _COUNTS
        }
        total.sums = {
            name: self.sums[name] + other.sums[name] for name in IMAGE_NUMBERS
        }
        return total

    def compute(self) -> dict:
        """Compute all measures of the images added so far.

        Returns:
            Measures by name; NaN if there are no cases:

            - ``auprc_pooled``, ``auroc_pooled``, ``prevalence_pooled``
            - ``dice_pooled``, ``iou_pooled`` at the threshold; ``dice_best_pooled``,
              ``iou_best_pooled`` at the best threshold, ``best_threshold``
            - ``hit_rate_pooled`` over lesions; ``false_spots_per_image``
            - ``<name>_mean``, ``<name>_std`` over images for each of
              ``IMAGE_NUMBERS``
            - ``num_images``, ``num_skipped`` (without lesion), ``num_lesions``
        """
        ranking, counts = self.histogram.ranking(), self.counts
        dice_best, best_threshold = ranking.best_dice()
        dice = _ratio(2 * counts['overlap'], counts['predicted'] + counts['inside'])
        numbers = dict(
            auprc_pooled=ranking.auprc,
            auroc_pooled=ranking.auroc,
            prevalence_pooled=ranking.prevalence,
            dice_pooled=dice,
            iou_pooled=dice / (2 - dice),
            dice_best_pooled=dice_best,
            iou_best_pooled=dice_best / (2 - dice_best),
            best_threshold=best_threshold,
            hit_rate_pooled=_ratio(counts['num_hit'], counts['num_lesions']),
            false_spots_per_image=_ratio(counts['num_false'], counts['num_images']),
        )
        for name, (count, total, squares) in self.sums.items():
            mean = _ratio(total, count)
            numbers[f'{name}_mean'] = mean
            variance = _ratio(squares, count) - mean**2
            # Rounding may make the variance negative.
            numbers[f'{name}_std'] = float(np.sqrt(np.maximum(variance, 0)))
        for name in ('num_images', 'num_skipped', 'num_lesions'):
            numbers[name] = counts[name]
        return numbers

    def _numbers(
        self,
        activation: np.ndarray,
        mask: np.ndarray,
        hits: LesionHits,
        counted: dict[str, int],
    ) -> dict:
        """Compute the measures of one image with a lesion."""
        ranking = rank_pixels(activation, mask)
        dice = _ratio(2 * counted['overlap'], counted['predicted'] + counted['inside'])
        dice_best, _ = ranking.best_dice()
        return dict(
            auprc=ranking.auprc,
            auroc=ranking.auroc,
            prevalence=ranking.prevalence,
            dice=dice,
            iou=dice / (2 - dice),
            dice_best=dice_best,
            iou_best=dice_best / (2 - dice_best),
            pointing_game=pointing_game(
                activation, mask, self.settings['tolerance_px']
            ),
            energy_inside=energy_inside(activation, mask),
            hit_rate=hits.num_hit / hits.num_lesions,
            false_spots=float(hits.num_false),
        )


def _normalized(activation: np.ndarray) -> np.ndarray:
    """Scale a map to 0..1."""
    low, high = activation.min(), activation.max()
    if low == high:
        return np.zeros_like(activation)
    # Halved first because the difference of two float32 may overflow.
    return (activation / 2 - low / 2) / (high / 2 - low / 2)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else np.nan
