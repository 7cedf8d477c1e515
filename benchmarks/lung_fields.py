"""Benchmark of lung masks and sides in cropped fields of view and without lungs.

The scans are generated chests of four patients (4 mm pixels, 6 mm slices) and the real
chest CT next to the project, if available. A crop is compared with the mask and the
sides of the whole scan in that field of view.
"""

import itertools
import warnings
from pathlib import Path

import numpy as np
from scipy import ndimage

from mmlesion.ct import CTVolume, left_right_lungs, lung_mask, read_volume
from mmlesion.phantom import Patient, Protocol, paint_anatomy
from mmlesion.phantom.scan import finish, paint_table

REAL = Path(__file__).resolve().parents[2] / 'shared/data/chest_ct/ct-64.nrrd'
#: Levels in mm below the top of the lungs.
LEVELS_MM = dict(chest=(-30, 300), abdomen=(345, 470), pelvis=(470, 690))


def generated(seed, part, pixel_mm=4.0, step_mm=6.0):
    """Return a part of a generated patient as a scan."""
    rng = np.random.default_rng(seed)
    patient, protocol = Patient(rng), Protocol.draw(rng)
    z = np.arange(*LEVELS_MM[part], step_mm) * patient.scale_z
    half = float(patient.half_axes(100)[0]) + 1.3 * patient.fat_mm + 25
    x = np.arange(-half, half, pixel_mm)
    canvas = paint_anatomy(z, x, x, patient, protocol.enhancement)
    paint_table(canvas, float(patient.half_axes(120)[1]) + 1.3 * patient.fat_mm + 6)
    protocol.spacing_mm, protocol.interval_mm = pixel_mm, step_mm
    finish(canvas.hu, protocol, rng)
    hu = np.clip(np.rint(canvas.hu), -1024, 3071).astype(np.int16)[::-1]
    return CTVolume(hu.copy(), (step_mm * patient.scale_z, pixel_mm, pixel_mm))


def six_sides(shape):
    """Return fields of view without 25 or 50 % of the scan on one of its six sides."""
    for axis, share, first in itertools.product(range(3), (0.25, 0.5), (False, True)):
        cut = round(share * shape[axis])
        part = [slice(None)] * 3
        part[axis] = slice(cut, None) if first else slice(0, shape[axis] - cut)
        yield tuple(part)


def one_lung(shape):
    """Return fields of view with one lung or a part of it."""
    shares = (
        ((0, 1), (0, 1), (0.57, 1)),
        ((0, 1), (0, 1), (0, 0.43)),
        ((0.25, 0.75), (0.25, 0.75), (0.5, 0.8)),
        ((0.25, 0.75), (0.25, 0.75), (0.2, 0.5)),
    )
    for each in shares:
        yield tuple(
            slice(round(a * size), round(b * size)) for (a, b), size in zip(each, shape)
        )


def variants(scan):
    """Return variants: rotated, differently stored, with two slices, with gaps."""
    for degrees in (-25, -10, 10, 25):
        turn = dict(angle=degrees, axes=(1, 2), reshape=False)
        yield (
            CTVolume(
                ndimage.rotate(scan.array, order=1, cval=-1000, **turn), scan.spacing_mm
            ),
            lambda array, turn=turn: ndimage.rotate(array, order=0, **turn),
        )
    middle = len(scan.array) // 2
    for part, direction, step in (
        (np.s_[:, :, ::-1], (-1, 1, 1), 1),
        (np.s_[::-1], (1, 1, -1), 1),
        (np.s_[:, ::-1, ::-1], (-1, -1, 1), 1),
        (np.s_[middle : middle + 2], (1, 1, 1), 1),
        (np.s_[::3], (1, 1, 1), 3),
    ):
        yield (
            CTVolume(
                scan.array[part],
                (step * scan.spacing_mm[0], *scan.spacing_mm[1:]),
                direction=np.diag(np.array(direction, float)),
            ),
            lambda array, part=part: array[part],
        )


def _dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def _agreement(found, expected):
    both = (found > 0) & (expected > 0)
    return (found == expected)[both].mean()


def run():
    """Measure the Dice, the fraction on the correct side, and rejections."""
    scans = {'generated': [generated(seed, 'chest') for seed in range(4)]}
    if REAL.is_file():
        scans['real'] = [read_volume(REAL)]
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for name, each in scans.items():
            for method in ('threshold', 'watershed'):
                rows.append(
                    _row(
                        f'{name}: {method}, six sides, 25 and 50 %, Dice',
                        [
                            _dice(
                                lung_mask(
                                    CTVolume(scan.array[part], scan.spacing_mm), method
                                ),
                                whole[part],
                            )
                            for scan in each
                            for whole in [lung_mask(scan, method)]
                            for part in six_sides(scan.shape)
                        ],
                        0.95,
                    )
                )
            rows.append(
                _row(
                    f'{name}: correct sides, fraction of volume',
                    [share for scan in each for share in _sides(scan)],
                    0.98,
                )
            )
            for radius_mm in (10, 20, 30):
                rows.append(
                    _row(
                        f'{name}: wall masses in the mask, radius {radius_mm} mm',
                        [
                            part
                            for scan in each
                            for part in wall_masses(scan, radius_mm)
                        ],
                    )
                )
        refused = [
            _is_refused(generated(seed, part))
            for seed in range(6)
            for part in ('abdomen', 'pelvis')
        ]
    rows.append(_row('generated abdomens and pelves rejected', refused, 1))
    return rows


def _sides(scan):
    mask = lung_mask(scan)
    sides = left_right_lungs(mask, scan)
    cases = [
        (
            CTVolume(scan.array[part], scan.spacing_mm),
            lambda array, part=part: array[part],
        )
        for part in (*six_sides(scan.shape), *one_lung(scan.shape))
    ]
    for view, same in (*cases, *variants(scan)):
        yield _agreement(left_right_lungs(lung_mask(view), view), same(sides))


def wall_masses(scan, radius_mm):
    """Yield the fraction of masses at the lateral wall inside the refined mask."""
    lung = lung_mask(scan, 'watershed')
    points = np.argwhere(lung)
    middle = np.median(points, 0)
    spacing = np.array(scan.spacing_mm)
    for side, level in itertools.product((-1, 1), (-0.25, 0, 0.25)):
        height = round(middle[0] + level * np.ptp(points[:, 0]))
        plane = points[points[:, 0] == height]
        near = plane[np.abs(plane[:, 1] - np.median(plane[:, 1])) <= 1]
        edge = near[(side * near[:, 2]).argmax()]
        center = edge * spacing - (0, 0, side * (radius_mm - 2))
        steps = np.argwhere(np.ones_like(lung)) * spacing - center
        ball = (np.linalg.norm(steps, axis=1) <= radius_mm).reshape(lung.shape) & lung
        array = np.where(ball, 40, scan.array).astype(np.int16)
        found = lung_mask(CTVolume(array, scan.spacing_mm), 'watershed')
        yield (found & ball).sum() / ball.sum()


def _is_refused(scan):
    try:
        lung_mask(scan)
    except ValueError:
        return 1.0
    return 0.0


def _row(what, values, target=None):
    return dict(
        what=what,
        ours=float(min(values)),
        peer=None,
        unit='',
        peer_name=None,
        ratio=None,
        target=None if target is None else f'>= {target}',
        note=f'minimum of {len(values)}, mean {np.mean(values):.4f}, median '
        f'{np.median(values):.4f}',
    )
