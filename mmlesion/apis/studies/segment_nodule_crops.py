"""Segmentation of nodule crops inside circles around the true mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mmlesion.datasets.sources.nodule_crops import find_nodule_crops, read_nodule_crop
from mmlesion.files import write_csv_rows
from mmlesion.segmentation import nodule_candidates, phase_means, refine_candidate


@dataclass
class CropScore:
    """Scores of a nodule that is segmented inside a circle.

    Attributes:
        nodule: Name of the file.
        diameter_mm: Diameter of the disc with the area of the mask in the middle
            slice.
        scope: Radius of the circle, in radii of the circle around the mask.
        candidates: Number of candidates in the middle slice.
        coarse: Dice of the union of all candidates in the middle slice.
        fine: Dice of the largest candidate.
        best: Dice of the candidate with the highest Dice, the upper bound of any
            choice.
        volume: 3-D Dice of the largest candidates of all slices with the nodule.
    """

    nodule: str
    diameter_mm: float
    scope: float
    candidates: int
    coarse: float
    fine: float
    best: float
    volume: float


def segment_nodule_crops(
    image_dir: str | Path,
    mask_dir: str | Path,
    scopes: Sequence[float] = (1.0, 1.2, 1.5, 2.0),
    smoothness_hu: float = 100.0,
    out: str | Path | None = None,
    refine: str | None = None,
) -> list[CropScore]:
    """Segment nodule crops inside circles of several sizes.

    The candidates are those of :func:`mmlesion.segmentation.nodule_candidates`, slice
    by slice, inside the circle around the mask of the slice, enlarged by each factor
    of ``scopes``. The intensities of a crop differ from those of a whole slice, so
    the means of the phases come from the middle slices (the slices with the largest
    mask) of all crops together.

    Args:
        image_dir: Folder of crops in HU, one volume file per nodule.
        mask_dir: Folder of masks with the same file names; 0 is background.
        scopes: Radii of the circles, in radii of the circle around the mask.
        smoothness_hu: As in :class:`mmlesion.NAMSegmentor`.
        out: csv file of the results.
        refine: Refinement of the largest candidate (``fine`` and ``volume``), see
            :func:`mmlesion.segmentation.refine_candidate`. Default is none.

    Returns:
        One score per crop and circle.

    Raises:
        FileNotFoundError: If there are no crops, or a crop has no mask.
        ValueError: If a mask is empty or differs in shape from its crop, or contains
            values like an image in HU, or a radius or ``smoothness_hu`` is not
            positive.
    """
    if not smoothness_hu >= 0:
        raise ValueError(f'smoothness_hu must not be negative, got {smoothness_hu:g}.')
    scopes = [float(scope) for scope in scopes]
    if not scopes or min(scopes) <= 0:
        raise ValueError(f'scopes must be positive numbers, got {scopes}.')
    pairs = find_nodule_crops(image_dir, mask_dir)
    middles = []
    for paths in tqdm(pairs, desc='Reading', unit='nodule'):
        volume, mask = read_nodule_crop(*paths)
        middles.append(volume.array[mask.sum((1, 2)).argmax()].ravel())
    means = phase_means(np.concatenate(middles))
    scores = []
    for paths in tqdm(pairs, desc='Segmenting', unit='nodule'):
        volume, mask = read_nodule_crop(*paths)
        for scope in scopes:
            scores.append(
                _score(
                    volume.array,
                    mask,
                    volume.spacing_mm,
                    scope,
                    means,
                    smoothness_hu,
                    paths[0].name,
                    refine,
                )
            )
    if out is not None:
        write_csv_rows(out, CropScore, scores)
    return scores


def crop_table(scores: Sequence[CropScore]) -> str:
    """Format mean and standard deviation over nodules, one line per circle.

    Args:
        scores: The result of :func:`segment_nodule_crops`.

    Returns:
        The lines of a Markdown table.
    """
    names = ('coarse', 'fine', 'best', 'volume')
    lines = [
        '| scope | nodules | candidates | ' + ' | '.join(names) + ' |',
        '|---' * (3 + len(names)) + '|',
    ]
    for scope in dict.fromkeys(score.scope for score in scores):
        rows = [score for score in scores if score.scope == scope]
        columns = [[getattr(row, name) for row in rows] for name in names]
        lines.append(
            f'| {scope:g} | {len(rows)} | '
            f'{np.mean([row.candidates for row in rows]):.1f} | '
            + ' | '.join(
                f'{np.mean(column):.3f} ± {np.std(column):.3f}' for column in columns
            )
            + ' |'
        )
    return '\n'.join(lines)


def _score(
    image: np.ndarray,
    mask: np.ndarray,
    spacing_mm: Sequence[float],
    scope: float,
    means: np.ndarray,
    smoothness_hu: float,
    name: str,
    refine: str | None,
) -> CropScore:
    middle = mask.sum((1, 2)).argmax()
    fine, of_middle = np.zeros_like(mask), np.zeros(mask.shape[1:], int)
    for index in np.flatnonzero(mask.any((1, 2))):
        candidates = nodule_candidates(
            image[index], _circle(mask[index], scope), means, smoothness_hu**2
        )
        fine[index] = candidates == 1  # the largest
        if refine is not None:
            fine[index] = refine_candidate(image[index], fine[index], refine)
        if index == middle:
            of_middle = candidates
    truth, count = mask[middle], of_middle.max()
    area_mm2 = truth.sum() * spacing_mm[1] * spacing_mm[2]
    return CropScore(
        name,
        round(float(2 * (area_mm2 / np.pi) ** 0.5), 3),
        scope,
        int(count),
        *(
            round(each, 5)
            for each in (
                _dice(of_middle > 0, truth),
                _dice(fine[middle], truth),
                max(
                    [_dice(of_middle == index, truth) for index in range(1, count + 1)],
                    default=0.0,
                ),
                _dice(fine, mask),
            )
        ),
    )


def _circle(mask: np.ndarray, factor: float) -> np.ndarray:
    """Return the circle around a mask's bounding box center, enlarged by a factor."""
    places = np.argwhere(mask)
    center = (places.min(0) + places.max(0)) / 2
    radius = np.hypot(*(places - center).T).max() + 0.5  # to the pixels' edges
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    return np.hypot(rows - center[0], columns - center[1]) <= factor * radius


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))
