"""Reference for detectors of simulated scans: the course of known foci along z.

The reference is given the position and size of every lesion and of every look-alike
vessel in 12 simulated scans, those of ``mmlesion phantom scans --scans 12 --size 160
--seed 21``. It segments each focus by a threshold and ranks the foci by the distance
over which they can be followed along z, because lesions end and vessels go on. The row
is the sensitivity at 2 false positives per scan. Foci that cannot be segmented, because
their contrast is below 25 HU or they touch other tissue, count as missed.
"""

import cv2
import numpy as np
from scipy import ndimage

from mmlesion.phantom import whole_scans
from mmlesion.phantom.body import Patient

SCANS, SEED = 12, 21


def connected_piece(plane, threshold, sign, x, y, reach, seed):
    """The connected piece beyond the threshold, near (x, y), that meets the seed."""
    near = np.zeros(plane.shape, bool)
    rows = slice(max(0, int(y - reach)), int(y + reach) + 1)
    columns = slice(max(0, int(x - reach)), int(x + reach) + 1)
    near[rows, columns] = sign * (plane[rows, columns] - threshold) > 0
    label, number = ndimage.label(near)
    count = np.bincount(label[seed], minlength=number + 1)
    count[0] = 0
    return label == count.argmax() if count.any() else None


def measure_focus(planes, scan, focus):
    """Return features of a focus from the pixels; None if it cannot be segmented.

    Returns:
        Radius (mm), HU, roundness 4 pi area / length^2, area at +-2 mm relative to
        the key slice's, and smaller of both distances (mm) that it can be followed.
    """
    x, y = ((focus.center[i] - scan.origin_mm[i]) / scan.spacing_mm for i in (0, 1))
    size = focus.radius_mm / scan.spacing_mm
    key = planes[scan.key]
    rows, columns = np.mgrid[: key.shape[0], : key.shape[1]]
    away = np.hypot(columns - x, rows - y)
    inside = np.median(key[away < max(1.5, 0.45 * size)])
    outside = np.median(key[(away > 1.3 * size + 2) & (away < 1.3 * size + 6)])
    threshold, sign = (inside + outside) / 2, np.sign(inside - outside)
    reach = 2 * size + 3
    first = connected_piece(
        key, threshold, sign, x, y, reach, away < max(1.5, 0.3 * size)
    )
    if abs(inside - outside) < 25 or first is None:
        return None
    if first.sum() > 1.6 * np.pi * size**2:  # grown together with something beside it
        return None
    outline, _ = cv2.findContours(
        first.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    length = max(cv2.arcLength(c, True) for c in outline)
    followed, close = [], []
    for way in (1, -1):
        current, distance = first, 0.0
        for step in range(1, int(14.01 / scan.interval_mm) + 1):
            rows, columns = np.nonzero(current)
            reached = ndimage.binary_dilation(
                current, iterations=1 + int(scan.interval_mm / scan.spacing_mm)
            )
            found = connected_piece(
                planes[scan.key + way * step],
                threshold,
                sign,
                columns.mean(),
                rows.mean(),
                reach,
                current,
            )
            if found is None or (found & reached).sum() < 0.2 * first.sum():
                break
            current, distance = found & reached, step * scan.interval_mm
            if distance == 2:
                close.append(current.sum() / first.sum())
        followed.append(distance)
    return (
        np.sqrt(first.sum() / np.pi) * scan.spacing_mm,
        inside,
        4 * np.pi * first.sum() / max(length, 1) ** 2,
        np.mean(close) if close else np.nan,
        min(followed),
    )


def sections_of_scans():
    """Return the sections of the simulated scans."""
    found = []
    for number in range(1, SCANS + 1):
        rng = np.random.default_rng([SEED, 77, number])
        found += whole_scans.simulate_sections(Patient(rng), rng, 160, 200.0)
    return found


def distances(sections, kind):
    """Return the distance that each focus can be followed; infinite if unknown."""
    found = []
    for scan in sections:
        planes = [cv2.GaussianBlur(p.astype(np.float32), (0, 0), 1) for p in scan.hu]
        for focus in getattr(scan, kind):
            measured = measure_focus(planes, scan, focus)
            found.append(np.inf if measured is None else measured[-1])
    return np.array(found)


def run():
    """Return one row."""
    sections = sections_of_scans()
    lesions, vessels = (distances(sections, kind) for kind in ('lesions', 'vessels'))
    limits = [x for x in range(15) if (vessels <= x).sum() <= 2 * SCANS]
    return [
        dict(
            what='sensitivity at 2 FP per scan by the course of known foci',
            ours=100 * float((lesions <= max(limits)).mean()),
            unit='%',
            note=f'{len(lesions)} lesions and {len(vessels)} look-alike vessels of '
            f'{SCANS} scans; {100 * np.isfinite(lesions).mean():.0f} % of the lesions '
            'can be segmented',
        )
    ]
