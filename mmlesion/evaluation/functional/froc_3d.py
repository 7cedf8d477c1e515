"""Free-response ROC curve of 3-D findings in whole scans."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .box_iou_3d import box_iou_3d
from .froc_bootstrap import bootstrap_froc, percentile_interval
from .froc_curve import FROCCurve
from .froc_matches import FROCMatches

#: False positives per scan at which LUNA16 reads the sensitivity; the mean of these
#: sensitivities is the competition performance metric (CPM).
LUNA16_FPS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_BOX_RULES = ('iou', 'iobb', 'p3d')


@dataclass(frozen=True)
class FROC3D:
    """Sensitivity against false positives per scan.

    Attributes:
        curve: The curve; ``num_images`` is the number of scans.
        fps: False positives per scan at which the sensitivity is read.
        sensitivity: Sensitivities at ``fps``, in [0, 1]; NaN without lesions.
        cpm: Mean of the sensitivities.
        interval: Lower and upper bound of each sensitivity from the bootstrap over
            scans; NaN without a bootstrap or with fewer than two scans.
        cpm_interval: Lower and upper bound of the mean.
        matches: The pairs of findings and lesions behind the curve.

    Shape:
        - fps, sensitivity: (F,)
        - interval: (2, F)
        - cpm_interval: (2,)
    """

    curve: FROCCurve
    fps: np.ndarray
    sensitivity: np.ndarray
    cpm: float
    interval: np.ndarray
    cpm_interval: np.ndarray
    matches: FROCMatches


def froc_3d(
    findings: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    lesions: Sequence[ArrayLike],
    rule: str = 'iou',
    iou_thr: float = 0.1,
    excluded: Sequence[ArrayLike] | None = None,
    fps: Sequence[float] = LUNA16_FPS,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: Sequence | None = None,
) -> FROC3D:
    r"""Compute the FROC curve of 3-D findings with one of four criteria for a hit.

    - ``'iou'``: the IoU of the 3-D boxes is at least ``iou_thr``.
    - ``'iobb'``: the intersection over the box of the finding is at least ``iou_thr``
      (Yan et al., IEEE TMI 2020, with 0.3).
    - ``'p3d'``: for lesions with a box in one slice. The finding contains the slice,
      and the 2-D IoU there is at least ``iou_thr`` (Cai et al., IEEE TMI 2021, with
      0.5). Differs from it in: the cross section of the 3-D box is used, as by Yan et
      al. Cai et al. use the box of their tracker in the slice.
    - ``'center'``: the center of the finding is closer to the center of the lesion
      than the radius of the lesion (LUNA16).

    A lesion is hit at all thresholds up to the score of its best finding. A finding
    that hits no lesion is a false positive. Further findings on a lesion that is
    already hit, and findings that hit only excluded lesions, are neither hits nor false
    positives. Scans without lesions count in the number of scans.

    Source of the ``'center'`` rule, of the excluded lesions and of the bootstrap over
    scans: Setio et al., "Validation, comparison, and combination of algorithms for
    automatic detection of pulmonary nodules in computed tomography images: the
    LUNA16 challenge", Med. Image Anal. 2017, and its evaluation script. Differs from
    the script in: findings with equal scores are counted together.

    Args:
        findings: For each scan, boxes (x1, y1, z1, x2, y2, z2) of outer edges in mm or
            voxels, or centers (x, y, z) in mm for ``'center'``.
        scores: For each scan, scores; higher is more certain.
        lesions: For each scan, boxes as above, or (x, y, z, radius) in mm for
            ``'center'``.
        rule: ``'iou'``, ``'iobb'``, ``'p3d'`` or ``'center'``.
        iou_thr: Minimum overlap of a hit.
        excluded: For each scan, a mask of lesions that do not count. None counts
            all.
        fps: False positives per scan at which to read the sensitivity.
        num_resamples: Bootstrap resamples of scans; 0 for no intervals.
        confidence: Confidence level of the intervals.
        seed: Random seed of the bootstrap.
        groups: Patient of each scan. Patients are resampled; by default, scans.

    Shape:
        - findings[i]: (F_i, 6) or (F_i, 3)
        - scores[i]: (F_i,)
        - lesions[i]: (L_i, 6) or (L_i, 4)
        - excluded[i]: (L_i,)

    Raises:
        ValueError: If the rule is unknown, the lists differ in length, an array has
            another shape, or a value is NaN or infinite.
    """
    _check_rule(rule, iou_thr)
    num_scans = len(lesions)
    if len(findings) != num_scans or len(scores) != num_scans:
        raise ValueError(
            'findings, scores and lesions need one entry for each scan, but have '
            f'{len(findings)}, {len(scores)} and {num_scans}'
        )
    columns = (6, 6) if rule in _BOX_RULES else (3, 4)
    found = [_array(each, columns[0], 'findings', i) for i, each in enumerate(findings)]
    sure = [_array(each, None, 'scores', i) for i, each in enumerate(scores)]
    truth = [_array(each, columns[1], 'lesions', i) for i, each in enumerate(lesions)]
    for index, (boxes, values) in enumerate(zip(found, sure)):
        if len(boxes) != len(values):
            raise ValueError(
                f'scan {index} has {len(boxes)} findings but {len(values)} scores'
            )
    matches = _match(found, sure, truth, rule, iou_thr)
    counted = _counted(excluded, truth)
    curve = matches.curve(counted, others='ignore')
    wanted = np.asarray(fps, float)
    sensitivity = np.asarray(curve.sensitivity_at(list(fps)))
    interval, cpm_interval = np.full((2, len(wanted)), np.nan), np.full(2, np.nan)
    if num_resamples:
        samples = bootstrap_froc(
            matches,
            np.arange(num_scans) if groups is None else np.asarray(groups),
            list(fps),
            counted,
            'ignore',
            num_resamples,
            seed,
        )
        interval = np.stack(percentile_interval(samples, confidence))
        cpm_interval = np.stack(percentile_interval(samples.mean(1), confidence))
    return FROC3D(
        curve,
        wanted,
        sensitivity,
        float(sensitivity.mean()),
        interval,
        cpm_interval,
        matches,
    )


def _check_rule(rule: str, iou_thr: float) -> None:
    if rule not in (*_BOX_RULES, 'center'):
        raise ValueError(
            f"rule must be 'iou', 'iobb', 'p3d' or 'center', but is {rule!r}"
        )
    if rule in _BOX_RULES and not 0 < iou_thr <= 1:
        raise ValueError(f'iou_thr must be in (0, 1], but is {iou_thr}')


def _match(
    found: list[np.ndarray],
    scores: list[np.ndarray],
    truth: list[np.ndarray],
    rule: str,
    iou_thr: float,
) -> FROCMatches:
    """Return all pairs of a finding and a lesion that it hits."""
    hit_box, hit_lesion = [], []
    first_box = first_lesion = 0
    for boxes, lesions in zip(found, truth):
        if len(boxes) and len(lesions):
            if rule in ('iou', 'iobb'):
                hits = box_iou_3d(boxes, lesions, rule) >= iou_thr
            elif rule == 'p3d':
                hits = _cross_section_iou(boxes, lesions) >= iou_thr
            else:
                apart = np.linalg.norm(boxes[:, None] - lesions[None, :, :3], axis=-1)
                hits = apart < lesions[:, 3]
            box, lesion = np.nonzero(hits)
            hit_box.append(box + first_box)
            hit_lesion.append(lesion + first_lesion)
        first_box += len(boxes)
        first_lesion += len(lesions)
    none = np.zeros(0, np.int64)
    scans = np.arange(len(truth))
    return FROCMatches(
        len(truth),
        np.repeat(scans, [len(each) for each in found]),
        np.concatenate([np.zeros(0), *scores]),
        np.repeat(scans, [len(each) for each in truth]),
        np.concatenate([none, *hit_box]),
        np.concatenate([none, *hit_lesion]),
    )


def _cross_section_iou(boxes: np.ndarray, lesions: np.ndarray) -> np.ndarray:
    """Return the 2-D IoU in the middle slice of each lesion, 0 outside the finding."""
    middle = (lesions[:, 2] + lesions[:, 5]) / 2
    inside = (boxes[:, 2, None] <= middle) & (middle <= boxes[:, 5, None])
    flat_boxes, flat_lesions = boxes.copy(), lesions.copy()
    flat_boxes[:, 2] = flat_lesions[:, 2] = 0
    flat_boxes[:, 5] = flat_lesions[:, 5] = 1
    return box_iou_3d(flat_boxes, flat_lesions) * inside


def _counted(
    excluded: Sequence[ArrayLike] | None, truth: list[np.ndarray]
) -> np.ndarray | None:
    if excluded is None:
        return None
    masks = [np.asarray(each, bool).reshape(-1) for each in excluded]
    if [len(mask) for mask in masks] != [len(each) for each in truth]:
        raise ValueError('excluded needs one value for each lesion of each scan')
    return ~np.concatenate([np.zeros(0, bool), *masks])


def _array(values: ArrayLike, columns: int | None, name: str, scan: int) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.size == 0:
        return np.zeros(0 if columns is None else (0, columns))
    if array.ndim != (1 if columns is None else 2) or (
        columns is not None and array.shape[1] != columns
    ):
        shape = '(F,)' if columns is None else f'(N, {columns})'
        raise ValueError(
            f'{name} of scan {scan} must have shape {shape}, but have {array.shape}'
        )
    if not np.isfinite(array).all():
        raise ValueError(f'{name} of scan {scan} must be finite')
    return array
