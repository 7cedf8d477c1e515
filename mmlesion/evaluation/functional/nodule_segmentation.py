"""Measures of nodule detection and segmentation in slices."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .group_bootstrap import group_bootstrap


@dataclass(frozen=True)
class SliceScore:
    """Comparison of a segmentation with the true nodules of one slice.

    Attributes:
        num_nodules: Number of true nodules.
        num_found: Number of true nodules that the segmentation touches.
        called: Whether the segmentation is not empty.
        dice: Dice of the segmentation and all true nodules, in [0, 1]. It is 0 if
            nothing was segmented, and NaN in a slice without a nodule.
        area_mm2: Area of the true nodules in mm2.
        predicted_area_mm2: Area of the segmentation in mm2.
        peak_mm: Distance from the peak of the activation map to the nearest pixel of a
            nodule, 0 inside, NaN without a map or without a nodule.
        num_false: Number of segmented nodules that touch no true nodule.
    """

    num_nodules: int
    num_found: int
    called: bool
    dice: float
    area_mm2: float
    predicted_area_mm2: float
    peak_mm: float = math.nan
    num_false: int = 0

    @property
    def doa_mm2(self) -> float:
        """Absolute difference of the two areas."""
        return abs(self.predicted_area_mm2 - self.area_mm2)

    @property
    def diameter_mm(self) -> float:
        """Diameter of the disc with the area of the true nodules."""
        return 2 * math.sqrt(self.area_mm2 / math.pi)


def score_slice(
    predicted: np.ndarray,
    nodules: np.ndarray,
    spacing_mm: Sequence[float],
    activation_map: np.ndarray | None = None,
    regions: Sequence[np.ndarray] | None = None,
) -> SliceScore:
    r"""Compare a segmentation with the true nodules of a slice.

    A nodule counts as found if the segmentation shares at least one pixel with
    it. The paper does not give its criterion. In its Table 1, hits and false hits
    on slices with a nodule add up to 0.85 or 0.86 for every method that shares the
    one classifier, so a slice is either a hit or a miss as a whole there too.

    .. math::
        \mathrm{Dice} = \frac{2\,|P \cap T|}{|P| + |T|}

    Source: Feng et al., Discriminative Localization in CNNs for
    Weakly-Supervised Segmentation of Pulmonary Nodules, MICCAI 2017, Sec. 3.2.

    Args:
        predicted: Segmentation, 0 or False outside.
        nodules: Number of the true nodule at each pixel, 0 outside.
        spacing_mm: Pixel size (y, x).
        activation_map: Map whose peak is compared with the nodules.
        regions: Segmented nodules. Defaults to ``predicted`` as one nodule.

    Shape:
        - predicted, nodules, activation_map, each of regions: (H, W)

    Returns:
        Comparison of the segmentation with the true nodules.

    Raises:
        ValueError: If the shapes differ or a spacing is not positive.
    """
    predicted, nodules = np.asarray(predicted) != 0, np.asarray(nodules)
    if predicted.ndim != 2 or predicted.shape != nodules.shape:
        raise ValueError(
            f'the segmentation has shape {predicted.shape}, the true '
            f'nodules {nodules.shape}; expected the same (H, W)'
        )
    spacing_mm = tuple(float(value) for value in spacing_mm)
    if len(spacing_mm) != 2 or not all(0 < value < math.inf for value in spacing_mm):
        raise ValueError(
            f'spacing_mm must be two positive numbers (y, x), but is {spacing_mm}'
        )
    truth = nodules != 0
    sizes = int(predicted.sum()), int(truth.sum())
    shared = nodules[predicted & truth]
    pixel_mm2 = spacing_mm[0] * spacing_mm[1]
    return SliceScore(
        num_nodules=len(np.unique(nodules[truth])),
        num_found=len(np.unique(shared)),
        called=sizes[0] > 0,
        dice=2 * len(shared) / sum(sizes) if sizes[1] else math.nan,
        area_mm2=sizes[1] * pixel_mm2,
        predicted_area_mm2=sizes[0] * pixel_mm2,
        peak_mm=_peak_distance(activation_map, truth, spacing_mm),
        num_false=sum(
            bool(each.any() and not (each & truth).any())
            for each in ([predicted] if regions is None else regions)
        ),
    )


def nodule_segmentation_table(scores: Iterable[SliceScore]) -> dict[str, float]:
    """Compute the row of a method in Table 1 of the paper.

    The rates are computed from slices with one nodule and slices without nodules:

    - ``tpr``: fraction of slices with a nodule in which it was found;
    - ``fpr``: fraction of slices without a nodule with a non-empty segmentation;
    - ``fpr_nodule``: fraction of slices with a nodule and a non-empty segmentation
      that misses the nodule;
    - ``dice_mean``, ``dice_std``: over all slices with a nodule;
    - ``tp_dice_mean``, ``tp_dice_std``: over the slices in which it was found;
    - ``tp_doa_mean``, ``tp_doa_std``: absolute difference of the areas in mm2 over
      the same slices, lower is better;
    - ``peak_in``: fraction of the slices with a nodule and a segmentation in which the
      peak of the activation map is inside the nodule;
    - ``peak_mm_median``: median distance of the peak from the nodule over the same
      slices, lower is better;
    - ``false_nodules``: mean number of segmented nodules that touch no nodule, over
      all slices with at most one nodule, lower is better.

    Standard deviations are divided by the number of values. A rate without slices is
    NaN. Of the ``num_two`` slices with two nodules, both nodules were found in
    ``two_both`` and one nodule in ``two_one``. Slices with three or more nodules are
    omitted.

    Source: Feng et al., MICCAI 2017, Sec. 3.2 ("Segmentation evaluation is focused
    on slices with one nodule").

    Args:
        scores: Score of each slice.

    Returns:
        Numbers above, ``num_nodule`` (slices with one nodule) and ``num_empty`` (slices
        without nodules).
    """
    scores = list(scores)
    one = [each for each in scores if each.num_nodules == 1]
    none = [each for each in scores if each.num_nodules == 0]
    two = [each for each in scores if each.num_nodules == 2]
    found = [each for each in one if each.num_found]
    peaks = [e.peak_mm for e in one if e.called and not math.isnan(e.peak_mm)]
    return dict(
        tpr=_share(each.num_found for each in one),
        fpr=_share(each.called for each in none),
        fpr_nodule=_share(each.called and not each.num_found for each in one),
        **_mean_and_deviation('dice', (each.dice for each in one)),
        **_mean_and_deviation('tp_dice', (each.dice for each in found)),
        **_mean_and_deviation('tp_doa', (each.doa_mm2 for each in found)),
        peak_in=_share(peak == 0 for peak in peaks),
        peak_mm_median=float(np.median(peaks)) if peaks else math.nan,
        false_nodules=_mean_and_deviation(
            'false', (each.num_false for each in [*one, *none])
        )['false_mean'],
        two_both=sum(each.num_found == 2 for each in two),
        two_one=sum(each.num_found == 1 for each in two),
        num_two=len(two),
        num_nodule=len(one),
        num_empty=len(none),
    )


def nodule_segmentation_intervals(
    scores: Sequence[SliceScore],
    patients: Sequence,
    num_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Compute 95 % intervals of rates and Dice by a bootstrap over patients.

    Args:
        scores: Score of each slice.
        patients: Patient of each slice.
        num_resamples: Number of resamples of the patients.
        seed: Random seed of the resamples.

    Returns:
        ``<name>_low`` and ``<name>_high`` for ``tpr``, ``fpr``, ``dice_mean`` and
        ``tp_dice_mean`` of :func:`nodule_segmentation_table`. NaN with fewer than two
        patients, or without such slices.
    """
    names = ('tpr', 'fpr', 'dice_mean', 'tp_dice_mean')
    one = np.array([each.num_nodules == 1 for each in scores], bool)
    none = np.array([each.num_nodules == 0 for each in scores], bool)
    found = np.array([each.num_found > 0 for each in scores], bool)
    called = np.array([each.called for each in scores], bool)
    dice = np.array([each.dice for each in scores], float)

    def mean(values: np.ndarray, kept: np.ndarray) -> float:
        return float(values[kept].mean()) if kept.any() else math.nan

    def statistic(cases: np.ndarray) -> list[float]:
        return [
            mean(found[cases], one[cases]),
            mean(called[cases], none[cases]),
            mean(dice[cases], one[cases]),
            mean(dice[cases], (one & found)[cases]),
        ]

    low = high = np.full(len(names), math.nan)
    if len(scores):
        low, high = group_bootstrap(
            statistic, patients, num_resamples=num_resamples, seed=seed
        )
    return {
        f'{name}_{end}': float(value)
        for end, values in (('low', low), ('high', high))
        for name, value in zip(names, values)
    }


def scores_by_size(
    scores: Iterable[SliceScore], edges_mm: Sequence[float]
) -> list[dict[str, float]]:
    """Compute TP Dice and TP DOA by nodule size (Fig. 3 of the paper).

    Args:
        scores: Score of each slice. Only slices with one nodule that was found are
            used.
        edges_mm: Increasing bounds of the diameter of the disc with the area of the
            nodule in the slice. A bin includes its lower bound.

    Returns:
        ``low_mm``, ``high_mm``, ``count`` and the four numbers ``tp_...`` of
        :func:`nodule_segmentation_table` for each bin.

    Raises:
        ValueError: If there are fewer than two bounds or they do not increase.
    """
    edges_mm = [float(edge) for edge in edges_mm]
    if len(edges_mm) < 2 or any(
        not low < high for low, high in zip(edges_mm, edges_mm[1:])
    ):
        raise ValueError(
            f'edges_mm must be two or more ascending numbers, but is {edges_mm}'
        )
    found = [each for each in scores if each.num_nodules == 1 and each.num_found]
    rows = []
    for low, high in zip(edges_mm, edges_mm[1:]):
        inside = [each for each in found if low <= each.diameter_mm < high]
        rows.append(
            dict(
                low_mm=low,
                high_mm=high,
                count=len(inside),
                **_mean_and_deviation('tp_dice', (each.dice for each in inside)),
                **_mean_and_deviation('tp_doa', (each.doa_mm2 for each in inside)),
            )
        )
    return rows


def _peak_distance(
    activation_map: np.ndarray | None, truth: np.ndarray, spacing_mm: Sequence[float]
) -> float:
    """Distance in mm from the peak of a map to the nearest pixel of a nodule."""
    if activation_map is None or not truth.any():
        return math.nan
    activation_map = np.asarray(activation_map)
    if activation_map.shape != truth.shape:
        raise ValueError(
            f'the activation map has shape {activation_map.shape}, the true nodules '
            f'{truth.shape}; expected the same (H, W)'
        )
    peak = np.unravel_index(int(activation_map.argmax()), truth.shape)
    steps = (np.argwhere(truth) - np.array(peak)) * np.asarray(spacing_mm)
    return float(np.sqrt((steps**2).sum(1).min()))


def _share(flags: Iterable[int]) -> float:
    flags = [bool(flag) for flag in flags]
    return sum(flags) / len(flags) if flags else math.nan


def _mean_and_deviation(name: str, values: Iterable[float]) -> dict[str, float]:
    values = np.array(list(values), float)
    return {
        f'{name}_mean': float(values.mean()) if values.size else math.nan,
        f'{name}_std': float(values.std()) if values.size else math.nan,
    }
