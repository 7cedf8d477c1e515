"""How well nodules are outlined where the scope is right: no network needed."""

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from mmlesion.datasets.sources.nodule_crops import find_nodule_crops, read_nodule_crop
from mmlesion.files import write_csv_rows
from mmlesion.segmentation import nodule_candidates, phase_means


@dataclass
class CropScore:
    """A nodule segmented inside a scope.

    Attributes:
        nodule: Name of the file.
        diameter_mm: Of the disc with the area of the mask in the middle slice.
        scope: The scope's radius, in radii of the circle around the mask.
        candidates: Their number in the middle slice.
        coarse: Dice of all candidates of the middle slice.
        fine: Dice of the largest one.
        best: Dice of the one that fits best, which no screening can surpass.
        volume: 3-D Dice of the largest ones of all slices with the nodule.
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
    image_dir, mask_dir, scopes=(1.0, 1.2, 1.5, 2.0), smoothness_hu=100.0, out=None
) -> list[CropScore]:
    """Segment crops around nodules inside circles of several sizes.

    The candidates are those of :func:`mmlesion.segmentation.nodule_candidates`, slice
    by slice, inside the circle around the mask of the slice, its radius times each of
    ``scopes``. As a crop's intensities are not those of a whole slice, the phases'
    means are those of all middle slices (the ones with the largest mask) together.

    Args:
        image_dir (str | Path): Crops in HU, a volume file for each.
        mask_dir (str | Path): Masks by the same names, 0 outside.
        scopes (Sequence[float]): Radii, in radii of the circle around the mask.
        smoothness_hu (float): As :class:`mmlesion.NAMSegmentor`.
        out (str | Path, optional): csv of the results.

    Returns:
        list[CropScore]: For each crop, one for each of ``scopes``.

    Raises:
        FileNotFoundError: There are no crops, or one has no mask.
        ValueError: A mask is empty or of another shape than its crop; or a radius is
            not positive.
    """
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
                )
            )
    if out is not None:
        write_csv_rows(out, CropScore, scores)
    return scores


def crop_table(scores) -> str:
    """Mean and deviation over the nodules, a line for each scope.

    Args:
        scores (Sequence[CropScore]): Of :func:`segment_nodule_crops`.

    Returns:
        str: Lines of a Markdown table.
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


def _score(image, mask, spacing_mm, scope, means, smoothness_hu, name):
    middle = mask.sum((1, 2)).argmax()
    fine = np.zeros_like(mask)
    for index in np.flatnonzero(mask.any((1, 2))):
        candidates = nodule_candidates(
            image[index], _circle(mask[index], scope), means, smoothness_hu**2
        )
        fine[index] = candidates == 1  # the largest
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


def _circle(mask, factor):
    """The circle around a mask's bounding box's centre, its radius times a factor."""
    places = np.argwhere(mask)
    centre = (places.min(0) + places.max(0)) / 2
    radius = np.hypot(*(places - centre).T).max() + 0.5  # to the pixels' edges
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    return np.hypot(rows - centre[0], columns - centre[1]) <= factor * radius


def _dice(one, other) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))
