"""Simulated follow-up CT of the whole chest with signs of aspergillosis."""

import copy
from dataclasses import dataclass

import numpy as np

from .body import Enhancement, Patient, Region
from .canvas import Canvas
from .lung_space import lung_grid
from .mimics import MIMICS, paint_mimic
from .organs import pleura_mm
from .pathology import (
    SIGNS,
    Background,
    Cavity,
    Thickening,
    paint_background,
    paint_cavity,
    paint_thickening,
)
from .scan import Protocol, finish, paint_anatomy, paint_table
from .sign_course import Course, Sign

_NOISE_PIXEL_MM = 0.75
_VOXELS_AT_ONCE = 3_000_000


@dataclass
class SignScan:
    """A simulated scan of the whole lungs.

    Attributes:
        hu: (D, H, W) int16, from the feet to the head.
        masks: Ground-truth masks of the present signs, each (D, H, W) bool.
        mimics: Ground-truth masks of the mimics that are present, as ``masks``.
        lung: Ground-truth mask of the lungs with all lesions, without effusions,
            (D, H, W) bool.
        regions: Lung regions that contain each sign.
        truth: One dict per sign, mimic and disease: ``sign``, ``region``, ``place``
            (z, y, x) in voxels and ``volume_mm3`` (both None for diseases). Signs and
            mimics without a voxel are omitted.
        spacing_mm: (z, y, x).
        origin: World position (x, y, z) of the center of the first voxel, mm.
    """

    hu: np.ndarray
    masks: dict[str, np.ndarray]
    mimics: dict[str, np.ndarray]
    lung: np.ndarray
    regions: dict[str, set[str]]
    truth: list[dict]
    spacing_mm: tuple[float, float, float]
    origin: tuple[float, float, float]


def simulate_sign_scan(
    course: Course, visit: int, rng: np.random.Generator, size: int = 128
) -> SignScan:
    """Simulate one scan of the whole lungs.

    Args:
        course: The patient.
        visit: Index of the visit.
        rng: Generator of everything that differs between scans of a patient.
        size: Width and height in pixels. There are 27 slices per 32 pixels, that is,
            216 slices for 256 pixels (Zusag et al., Sec. 2.3).
    """
    patient = copy.copy(course.patient)
    patient.lung_hu += float(rng.normal(0, 12))  # depth of inspiration
    z, y, x = lung_grid(patient, size, rng.normal(0, 2.5, 3))
    spacing = (float(z[1] - z[0]), float(y[1] - y[0]), float(x[1] - x[0]))
    protocol = Protocol.draw(rng)
    protocol.interval_mm, protocol.spacing_mm = spacing[0], spacing[1]
    # The mean over a pixel of 3 mm has a quarter of the noise of a pixel of 0.75 mm.
    protocol.sigma_hu *= min(1.0, _NOISE_PIXEL_MM / spacing[1])
    # High-resolution CT, mostly without contrast medium.
    protocol.enhancement = Enhancement(
        0.0 if rng.random() < 0.7 else rng.uniform(0.5, 1)
    )
    hu = np.empty((z.size, size, size), np.float32)
    lung = np.empty(hu.shape, bool)
    there = [sign for sign in course.signs if sign.onset <= visit]
    painted = [{} for _ in there]  # mask of each sign
    chunk = max(1, _VOXELS_AT_ONCE // size**2)
    for first in range(0, z.size, chunk):
        part = slice(first, first + chunk)
        canvas = paint_anatomy(z[part], y, x, patient, protocol.enhancement, True)
        lung[part] = canvas.labels == Region.LUNG
        canvas.labels = None
        paint_table(canvas, _back_mm(patient) + 6)
        wall_mm = pleura_mm(canvas, patient, patient.depth(canvas))
        for sign, masks in zip(there, painted):
            found = _paint(canvas, sign, lung[part], wall_mm, course.size(visit), visit)
            for name, (box, inside) in found.items():
                mask = masks.setdefault(name, np.zeros(hu.shape, bool))
                mask[part][box] = inside
        hu[part] = canvas.hu
    finish(hu, protocol, rng)
    hu = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    return _scan(
        hu[::-1],
        lung[::-1],
        there,
        painted,
        spacing,
        (round(float(x[0]), 3), round(float(y[0]), 3), round(-float(z[-1]), 3)),
    )


def _paint(canvas: Canvas, sign: Sign, lung, wall_mm, size, visit) -> dict:
    if isinstance(sign.what, Cavity):
        return paint_cavity(canvas, sign.what, lung, size, sign.ball_onset <= visit)
    if isinstance(sign.what, Thickening):
        return paint_thickening(canvas, sign.what, lung, wall_mm, size)
    if isinstance(sign.what, Background):
        paint_background(canvas, sign.what, lung, size)
        return {}
    return paint_mimic(canvas, sign.what, lung, wall_mm)


def _scan(hu, lung, there, painted, spacing, origin) -> SignScan:
    masks, mimics, truth = {}, {}, []
    regions = {name: set() for name in SIGNS}
    for sign, found in zip(there, painted):
        if isinstance(sign.what, Background):
            truth.append(
                dict(
                    sign=sign.what.kind, region=sign.region, place=None, volume_mm3=None
                )
            )
        for name, mask in found.items():
            if not mask.any():
                continue
            mask = mask[::-1]
            place = [float(index.mean()) for index in np.nonzero(mask)]
            truth.append(
                dict(
                    sign=name,
                    region=sign.region,
                    place=place,
                    volume_mm3=float(mask.sum() * np.prod(spacing)),
                )
            )
            if name in MIMICS:
                mimics[name] = mimics.get(name, False) | mask
                continue
            regions[name].add(sign.region)
            masks[name] = masks.get(name, False) | mask
    return SignScan(
        np.ascontiguousarray(hu),
        masks,
        mimics,
        np.ascontiguousarray(lung),
        regions,
        truth,
        spacing,
        origin,
    )


def _back_mm(patient: Patient) -> float:
    """Return the y coordinate of the skin of the back in mm."""
    level = 100 * patient.scale_z
    return float(patient.half_axes(level)[1]) + 1.3 * patient.fat_mm
