"""Bootstrap intervals of a FROC curve over patients."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .froc_matches import FROCMatches


def bootstrap_froc(
    matches: FROCMatches,
    patients: npt.ArrayLike,
    fps: Sequence[float] | np.ndarray = (0.5, 1, 2, 4, 8, 16),
    lesions: np.ndarray | None = None,
    others: str = 'fp',
    num_resamples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Compute the sensitivities of resampled sets of patients.

    Each resample draws as many patients as there are, with replacement, and takes all
    images of the drawn patients, because images of one patient are not independent. The
    result equals the (clamped) curve of the repeated images.

    Args:
        matches: From :func:`match_boxes`.
        patients: Patient of each image. The draws depend on the sorted patients, not
            on the order of the images.
        fps: False positives per image at which the sensitivity is computed.
        lesions: See :meth:`FROCMatches.events`.
        others: See :meth:`FROCMatches.events`.
        num_resamples: Number of resamples.
        seed: Seed of the draws. All subgroups use the same draws.

    Returns:
        Sensitivities. They are NaN in a resample without lesions, and everywhere with
        fewer than two patients.

    Shape:
        - patients: (N,)
        - output: (num_resamples, len(fps))

    Raises:
        ValueError: If there is not one patient per image.
    """
    patients = np.asarray(patients)
    if patients.shape != (matches.num_images,):
        raise ValueError(
            f'patients must name one patient for each of the {matches.num_images} '
            f'images, got shape {patients.shape}.'
        )
    fps = np.asarray(fps, dtype=np.float64)
    names, patient = np.unique(patients, return_inverse=True)
    if len(names) < 2:
        return np.full((num_resamples, len(fps)), np.nan)
    draws = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=num_resamples
    )

    lesion_point, is_fp = matches.events(lesions, others)
    order, box_point, scores = matches.ranking
    counted = slice(None) if lesions is None else np.asarray(lesions)
    lesions_of = np.bincount(
        patient[matches.lesion_image[counted]], minlength=len(names)
    )
    images_of = np.bincount(patient, minlength=len(names))

    hit = np.flatnonzero(lesion_point < len(scores))
    hit = hit[np.argsort(lesion_point[hit], kind='stable')]
    hit_point = lesion_point[hit]
    hit_patient = patient[matches.lesion_image[hit]]
    false = order[is_fp[order]]
    fp_point = box_point[false]
    fp_patient = patient[matches.box_image[false]]

    # Only the false positives up to the largest of ``fps`` are needed, a small part of
    # all boxes. If they do not suffice for a resample, all false positives are used.
    limit = int(fps.max(initial=0) * matches.num_images * 1.25) + 100
    if limit < len(fp_point):
        limit = int(np.searchsorted(fp_point, fp_point[limit], 'right'))
    samples = np.empty((num_resamples, len(fps)))
    for row, weight in enumerate(draws):
        num_lesions = weight @ lesions_of
        if num_lesions == 0:
            samples[row] = np.nan
            continue
        wanted = fps * (weight @ images_of)
        hits = np.r_[0, np.cumsum(weight[hit_patient])]
        fp = np.cumsum(weight[fp_patient[:limit]])
        if limit < len(fp_point) and fp[-1] <= wanted.max():
            fp = np.cumsum(weight[fp_patient])
        samples[row] = _read(fp, fp_point, hits, hit_point, wanted) / num_lesions
    return samples


def percentile_interval(
    samples: npt.ArrayLike, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Compute a percentile interval of samples.

    Args:
        samples: Resampled values along the first axis. NaN values are ignored.
        confidence: The fraction, in (0, 1).

    Returns:
        Lower and upper bounds, without the first axis; NaN if no sample is left.
    """
    values = np.asarray(samples, dtype=np.float64)
    tail = (1 - confidence) / 2
    known = ~np.isnan(values)
    # nanquantile would warn of columns without a number
    usable = np.where(known.any(0), values, 0.0)
    low, high = np.nanquantile(usable, [tail, 1 - tail], axis=0)
    return (np.where(known.any(0), low, np.nan), np.where(known.any(0), high, np.nan))


def _read(
    fp: np.ndarray,
    fp_point: np.ndarray,
    hits: np.ndarray,
    hit_point: np.ndarray,
    wanted: np.ndarray,
) -> np.ndarray:
    """Return the number of lesions hit at ``wanted`` false positives (clamped)."""
    found = np.full(len(wanted), hits[-1], dtype=np.float64)
    index = np.searchsorted(fp, wanted, side='right')
    inside = index < len(fp)
    # The first point with more false positives than wanted, and the one before.
    point = fp_point[index[inside]]
    begin = np.searchsorted(fp_point[: len(fp)], point, side='left')
    end = np.searchsorted(fp_point[: len(fp)], point, side='right')
    fp_low = np.where(begin > 0, fp[begin - 1], 0)
    fp_high = fp[end - 1]
    low = hits[np.searchsorted(hit_point, point, side='left')]
    high = hits[np.searchsorted(hit_point, point, side='right')]
    share = (wanted[inside] - fp_low) / (fp_high - fp_low)
    found[inside] = low + share * (high - low)
    return found
