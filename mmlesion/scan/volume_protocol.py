"""Evaluation in sub-volumes of DeepLesion against 3-D re-annotations."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmlesion.datasets.sources.deeplesion_volumes import SubVolume
from mmlesion.evaluation.functional import FROC3D, LUNA16_FPS, froc_3d

from .evaluation import lesion_findings
from .finding import Finding, ScanResult

#: Axes in DL_save_nifti.py: columns to the left, rows to the back, slices downward.
_DIRECTIONS = (('L', 'R'), ('P', 'A'), ('I', 'S'))


def evaluate_sub_volumes(
    results: Mapping[str, ScanResult],
    truth: Mapping[str, SubVolume],
    rule: str = 'iobb',
    iou_thr: float = 0.3,
    per: str = 'volume',
    fps: Sequence[float] = LUNA16_FPS,
    num_resamples: int = 1000,
    seed: int = 0,
) -> FROC3D:
    """Compute the FROC curve of findings against re-annotated sub-volumes.

    A hit is an intersection over the detected box of 0.3 (``'iobb'``) in Yan et al.
    (IEEE TMI 2020) and an IoU of 0.5 in the annotated slice (``'p3d'``) in Cai et al.
    (IEEE TMI 2021). Both divide the false positives by the number of sub-volumes. The
    confidence intervals resample patients.

    Args:
        results: Result of each sub-volume by name, from
            :func:`mmlesion.scan.evaluation.read_results`. The files have the direction
            of DeepLesion's ``DL_save_nifti.py``, or state another direction correctly.
        truth: From
            :func:`mmlesion.datasets.sources.deeplesion_volumes.read_sub_volumes`.
        rule: ``'iou'``, ``'iobb'`` or ``'p3d'``, see :func:`froc_3d`.
        iou_thr: Minimum overlap of a hit.
        per: Denominator of the false positives: ``'volume'``, or ``'scan'`` for the
            series, of which several sub-volumes may be annotated.
        fps: False positives per volume or scan at which the sensitivity is read.
        num_resamples: Bootstrap resamples of patients.
        seed: Random seed of the bootstrap.

    Raises:
        ValueError: If a sub-volume has no result, a result belongs to no sub-volume, or
            the number of slices of a file differs from its name.
    """
    if rule == 'center' or per not in ('volume', 'scan'):
        raise ValueError(
            "expected rule 'iou', 'iobb' or 'p3d' and false positives per 'volume' or "
            f"'scan', but got {rule!r} and {per!r}"
        )
    missing = [name for name in truth if name not in results]
    unlisted = [name for name in results if name not in truth]
    if missing or unlisted:
        problem = (
            f'{len(missing)} sub-volumes have no result, such as {missing[0]}'
            if missing
            else f'{len(unlisted)} results belong to no sub-volume, such as '
            f'{unlisted[0]}'
        )
        raise ValueError(f'{problem}; name a folder of results for each sub-volume')
    for name, volume in truth.items():
        _check_slices(results[name], name, volume)
    units: dict[str, list[str]] = {}
    for name, volume in truth.items():
        units.setdefault(name if per == 'volume' else volume.series, []).append(name)
    findings, scores, lesions, patients = [], [], [], []
    for names in units.values():
        found = [
            (name, each) for name in names for each in lesion_findings(results[name])
        ]
        findings.append(
            [_place(each, results[name], truth[name]) for name, each in found]
        )
        scores.append([each.score for _, each in found])
        lesions.append(np.concatenate([truth[name].boxes for name in names]))
        patients.append(truth[names[0]].patient)
    return froc_3d(
        findings,
        scores,
        lesions,
        rule,
        iou_thr,
        None,
        fps,
        num_resamples,
        seed=seed,
        groups=patients,
    )


def _axes(result: ScanResult) -> list[tuple[int, bool]]:
    """Return file axes of columns, rows and slices, and whether they are reversed."""
    codes = result.grid.axis_codes
    found = []
    for forward, backward in _DIRECTIONS:
        code = forward if forward in codes else backward
        found.append((codes.index(code), code == backward))
    return found


def _check_slices(result: ScanResult, name: str, volume: SubVolume) -> None:
    axis = _axes(result)[2][0]
    expected = volume.last_slice - volume.first_slice + 1
    if result.grid.size[axis] != expected:
        raise ValueError(
            f'{name}: {result.source} has {result.grid.size[axis]} slices, but the '
            f'name of the sub-volume says {expected}'
        )


def _place(finding: Finding, result: ScanResult, volume: SubVolume) -> np.ndarray:
    """Return the box (x1, y1, z1, x2, y2, z2) in columns, rows, slice numbers."""
    lower, upper = np.empty(3), np.empty(3)
    for place, (axis, is_reversed) in enumerate(_axes(result)):
        low, high = finding.box.lower[axis], finding.box.upper[axis]
        if is_reversed:
            last = result.grid.size[axis] - 1
            low, high = last - high, last - low
        lower[place], upper[place] = low, high
    lower[2] += volume.first_slice
    upper[2] += volume.first_slice
    return np.concatenate([lower, upper])
