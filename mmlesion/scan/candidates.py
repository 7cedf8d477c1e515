"""Candidates for the reduction of false positives: findings and lesions."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmlesion.ct import ARCHIVE_SUFFIX, CTVolume
from mmlesion.ct.candidate_patches import cut_candidate_patch, write_candidate_patch
from mmlesion.datasets.candidates import (
    CANDIDATE_COLUMNS,
    CANDIDATE_INDEX,
    CANDIDATE_PATCHES,
)
from mmlesion.files import counted, run_in_parallel, write_csv_table, write_problems

from .evaluation import (
    TruthScan,
    lesion_findings,
    read_results,
    read_truth,
    truth_by_result,
)
from .find_scans import find_scans
from .finding import ScanResult
from .identity import REMOVED, names_without_identity
from .reading import read_scan

_PROBLEMS = 'left_out.txt'


@dataclass
class PreparedCandidates:
    """Summary of :func:`prepare_candidates`.

    Attributes:
        lesions: Number of patches of lesions.
        others: Number of patches of other findings.
        problems: A sentence for each omitted scan.
    """

    lesions: int = 0
    others: int = 0
    problems: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Return a one-sentence summary."""
        return (
            f'Prepared {counted(self.lesions, "patch", "patches")} of lesions and '
            f'{self.others} of other findings.'
        )

    def check(self) -> None:
        """Raise an error if a scan was omitted.

        Raises:
            ValueError: With the first problem.
        """
        if self.problems:
            raise ValueError(
                f'{counted(len(self.problems), "scan")} left out, see {_PROBLEMS}: '
                f'{self.problems[0]}'
            )


def prepare_candidates(
    results: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    scans: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    excluded: str | os.PathLike[str] | None = None,
    unlisted_are_empty: bool = False,
    max_findings: int = 30,
    workers: int | None = None,
    progress: bool = True,
) -> PreparedCandidates:
    """Cut patches around findings and lesions, for training of a second stage.

    A finding whose center is closer to the center of a lesion than the radius of the
    lesion is a lesion (as in LUNA16). A finding that is close to an excluded lesion
    only is omitted. Each lesion is also added with its own center, so that lesions that
    the detector missed are not lost. The output contains ``candidates.csv``,
    ``patches/`` and, after problems, ``left_out.txt``. Findings of signs are ignored.

    Args:
        results: Folder of ``mmlesion detect`` for many scans.
        out_dir: Output folder.
        scans: The scans, as given to ``mmlesion detect``.
        truth: List of lesions, see :func:`~mmlesion.scan.evaluation.read_truth`.
        excluded: Second list, of lesions that do not count.
        unlisted_are_empty: Treat results whose scan is not in the list as scans
            without lesions. By default, they are an error.
        max_findings: Maximum number of findings of a scan, in descending order of
            score.
        workers: Number of processes. Defaults to the number of cores.
        progress: Whether to show a progress bar.

    Returns:
        The summary.

    Raises:
        FileNotFoundError: If the results, scans or list do not exist.
        ValueError: If ``max_findings`` is not positive, the list is malformed, it does
            not fit the results, the results have no scan, or no candidate is left.
    """
    if max_findings < 1:
        raise ValueError(f'max_findings must be positive, got {max_findings}')
    found = read_results(results)
    lesions = truth_by_result(found, read_truth(truth, excluded), unlisted_are_empty)
    paths = find_scans(scans)
    paths |= names_without_identity(paths)
    for name in found:
        if name not in paths:
            raise ValueError(
                f'{os.fspath(scans)}: there is no scan {name}, but '
                f'{os.fspath(results)} has its findings; give the same scans as to '
                'mmlesion detect'
            )
    out = Path(out_dir)
    (out / CANDIDATE_PATCHES).mkdir(parents=True, exist_ok=True)
    # An interrupted run must not leave an index that belongs to other patches
    (out / CANDIDATE_INDEX).unlink(missing_ok=True)
    done, rows = PreparedCandidates(), {}
    names = list(found)
    jobs = [
        (paths[name], name, found[name], lesions[name], max_findings, str(out))
        for name in names
    ]
    for number, made in run_in_parallel(
        _write_scan,
        jobs,
        workers,
        unit='scans',
        title='Cutting candidates',
        progress=progress,
    ):
        if isinstance(made, Exception):
            done.problems.append(str(made))
        else:
            rows[names[number]] = made
    kept = [row for name in names for row in rows.get(name, ())]
    done.lesions = sum(row['label'] for row in kept)
    done.others = len(kept) - done.lesions
    done.problems.sort()
    write_problems(out / _PROBLEMS, done.problems)
    if not kept:
        raise ValueError(f'{os.fspath(results)}: there is no candidate')
    write_csv_table(out / CANDIDATE_INDEX, CANDIDATE_COLUMNS, kept)
    return done


def _write_scan(
    path: Path,
    name: str,
    result: ScanResult,
    truth: TruthScan,
    max_findings: int,
    out_dir: str,
) -> list[dict]:
    """Write the patches of one scan and return their rows."""
    uid = result.series_uid
    # The UID is not known if it contained the identity of the patient
    known = uid and not uid.startswith(REMOVED)
    volume = read_scan(path, uid if known else None).volume
    rows = []
    for center, label, score in _candidates(result, truth, volume, max_findings):
        patch = f'{name}_{len(rows):03d}'
        write_candidate_patch(
            Path(out_dir) / CANDIDATE_PATCHES / f'{patch}{ARCHIVE_SUFFIX}',
            cut_candidate_patch(volume, center, margin=True),
        )
        rows.append(dict(patch=patch, scan=name, label=label, score=score))
    return rows


def _candidates(
    result: ScanResult, truth: TruthScan, volume: CTVolume, max_findings: int
) -> list[tuple[np.ndarray, int, float]]:
    """Return center (z, y, x) in voxels, label and score of each candidate."""
    lesions = np.array(truth.centers, float).reshape(-1, 4)
    excluded = np.array(truth.excluded, bool)
    found: list[tuple[np.ndarray, int, float]] = []
    ranked = sorted(lesion_findings(result), key=lambda each: -each.score)
    for finding in ranked[:max_findings]:
        distance = np.linalg.norm(lesions[:, :3] - finding.center_mm, axis=1)
        near = distance < lesions[:, 3]
        if near.any() and excluded[near].all():
            continue
        center = volume.world_to_index(finding.center_mm)
        found.append((center, int(near.any()), finding.score))
    for lesion in lesions[~excluded]:
        found.append((volume.world_to_index(lesion[:3]), 1, float('nan')))
    return found
