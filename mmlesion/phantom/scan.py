"""One key slice with its neighbours: anatomy, lesions, vessels, noise."""
from dataclasses import dataclass

import cv2
import numpy as np

from .body import Enhancement, Patient, Region, paint_layers
from .canvas import Canvas
from .focus import Focus, paint_focus
from .noise import correlated_noise, smooth_texture
from .organs import paint_organs
from .place import Layout, place_foci
from .recist import Recist, recist
from .skeleton import paint_skeleton
from .vessels import paint_vessel_trees

_VOXELS_AT_ONCE = 1_200_000
# Pixel spacings (mm) frequent in DeepLesion between 0.5 and 0.98.
SPACINGS_MM = (0.535156, 0.585938, 0.625, 0.664062, 0.691406, 0.703125, 0.732422,
               0.742188, 0.78125, 0.820312, 0.859375, 0.898438, 0.9375, 0.976562)
# Slice interval (mm), how often, and number of thinner slices averaged into one.
INTERVALS_MM = ((1.0, 0.25, 1), (2.0, 0.25, 1), (2.5, 0.15, 2), (3.0, 0.1, 2),
                (5.0, 0.25, 3))


@dataclass
class Scan:
    """A simulated key slice with its neighbours.

    Attributes:
        hu: (D, H, W) int16.
        mask: (D, H, W) uint8: 0, or 1 + index of the lesion.
        key: Index of the key slice in D.
        spacing_mm, interval_mm: Pixel spacing and slice distance.
        lesions, vessels: What was placed; ``vessels`` are the look-alikes.
        diameters: One :class:`Recist` per lesion, in the key slice.
        location: Per lesion, (x, y, z) as fractions of the body.
        patient_z_mm: Height of the key slice.
    """
    hu: np.ndarray
    mask: np.ndarray
    key: int
    spacing_mm: float
    interval_mm: float
    lesions: list[Focus]
    vessels: list[Focus]
    diameters: list[Recist]
    location: list[tuple[float, float, float]]
    patient_z_mm: float
    origin_mm: tuple[float, float]


def paint_anatomy(z_mm, y_mm, x_mm, patient: Patient, enhancement: Enhancement,
                  with_labels: bool = False) -> Canvas:
    """Paint a patient without lesions on a grid; returns the canvas."""
    canvas = Canvas(z_mm, y_mm, x_mm, patient.warp(z_mm, y_mm, x_mm), with_labels)
    wobble = patient.wobble(canvas)
    depth = paint_layers(canvas, patient, enhancement, wobble)
    paint_organs(canvas, patient, enhancement, depth, wobble)
    paint_vessel_trees(canvas, patient, enhancement)
    paint_skeleton(canvas, patient, depth)
    return canvas


def paint_table(canvas: Canvas, y_mm: float) -> None:
    """Paint the curved couch below the body, its top ``y_mm`` at the middle."""
    for drop, thick, hu in ((0, 1.6, 180.0), (26, 1.2, 40.0)):
        arc = y_mm + drop - np.square(canvas.x) / 900
        distance = np.float32(thick) - np.abs(canvas.y - arc)
        np.minimum(distance, 215 - np.abs(canvas.x), out=distance)
        canvas.blend(np.broadcast_to(distance, canvas.hu.shape).copy(), hu)


def simulate_scan(patient: Patient, rng: np.random.Generator, size: int = 512,
                  context_mm: float = 20.0, region: Region | None = None,
                  num_vessels: tuple[int, int] = (3, 6)) -> Scan:
    """Simulate one key slice with its neighbours.

    Args:
        patient: Whose anatomy.
        rng: Source of everything that differs between scans of a patient.
        size: Image width and height in pixels. At 512 the whole body is seen, below
            that a reconstruction of a part of it.
        context_mm: Slices reach at least this far to both sides of the key slice.
        region: Where the first focus goes; None draws it.
        num_vessels: Least and greatest number of look-alikes.

    Returns:
        A :class:`Scan` with at least one lesion.
    """
    for _ in range(20):
        scan = _try_scan(patient, rng, size, context_mm, region, num_vessels)
        if scan is not None:
            return scan
    raise RuntimeError('no lesion could be placed in 20 attempts: image size '
                       f'{size} px is too small for region {region}')


def _try_scan(patient, rng, size, context_mm, region, num_vessels):
    enhancement = Enhancement(0.0 if rng.random() < 0.25 else rng.uniform(0.6, 1.0))
    weights = np.array([w for _, w, _ in INTERVALS_MM])
    interval, _, parts = INTERVALS_MM[rng.choice(len(INTERVALS_MM), p=weights)]
    spacing = float(rng.choice(SPACINGS_MM))
    layout = place_foci(patient, enhancement, rng, size, spacing, paint_anatomy,
                        region, num_vessels)
    if layout is None:
        return None
    spacing = layout.spacing_mm
    half = int(np.ceil(context_mm / interval - 1e-9))
    z = layout.z_mm + interval * np.arange(-half, half + 1)
    inside = (np.arange(parts) + 0.5) / parts - 0.5
    z_fine = (z[:, None] + interval * inside).ravel()
    y = layout.origin_mm[1] + spacing * np.arange(size)
    x = layout.origin_mm[0] + spacing * np.arange(size)
    hu = np.empty((z.size, size, size), np.float32)
    cover = np.zeros((len(layout.lesions), z.size, size, size), np.float32)
    chunk = max(1, _VOXELS_AT_ONCE // (size * size * parts))
    table_y = layout.back_mm + 6
    for first in range(0, z.size, chunk):
        last = min(first + chunk, z.size)
        piece = z_fine[first * parts:last * parts]
        canvas = paint_anatomy(piece, y, x, patient, enhancement)
        paint_table(canvas, table_y)
        for vessel in layout.vessels:
            paint_focus(canvas, vessel, vessel.region == Region.BONE)
        for n, lesion in enumerate(layout.lesions):
            painted = paint_focus(canvas, lesion, lesion.region == Region.BONE)
            if painted:
                box, weight = painted
                full = np.zeros(canvas.hu.shape, np.float32)
                full[box] = weight
                cover[n, first:last] = full.reshape(last - first, parts, size,
                                                    size).mean(1)
        hu[first:last] = canvas.hu.reshape(last - first, parts, size, size).mean(1)
    mask = np.zeros(hu.shape, np.uint8)
    for n in range(len(layout.lesions)):
        mask[cover[n] > 0.5] = n + 1
    kept = _measured(layout, mask[half], spacing)
    if kept is None:
        return None
    _finish(hu, spacing, interval, rng)
    location = [_location(patient, f) for f in layout.lesions]
    return Scan(np.clip(np.rint(hu), -1024, 3071).astype(np.int16), mask, half, spacing,
                interval, layout.lesions, layout.vessels, kept, location, layout.z_mm,
                layout.origin_mm)


def _measured(layout: Layout, key_mask: np.ndarray,
              spacing: float) -> list[Recist] | None:
    """Diameters of all lesions; None if one is hidden behind something else."""
    found = []
    for n, lesion in enumerate(layout.lesions):
        area = float((key_mask == n + 1).sum()) * spacing**2
        expected = 3.14 * lesion.radius_mm**2 * lesion.aspect
        if area < 0.6 * expected:
            return None
        found.append(recist(key_mask == n + 1))
    return found


def _location(patient: Patient, focus: Focus):
    half_x, half_y = patient.half_axes(focus.centre[2])
    x = 0.5 + focus.centre[0] / (2 * (half_x + patient.fat_mm))
    y = 0.5 + focus.centre[1] / (2 * (half_y + patient.fat_mm))
    return (float(np.clip(x, 0, 1)), float(np.clip(y, 0, 1)),
            patient.fraction_z(focus.centre[2]))


def _finish(hu: np.ndarray, spacing: float, interval: float,
            rng: np.random.Generator) -> None:
    """Tissue texture, the kernel's blur and noise, in place."""
    grain = rng.uniform(0.5, 0.9)
    # Thin slices and sharp kernels are noisier.
    sigma = rng.uniform(5, 10.5) * (5 / interval)**0.25 * (0.8 / grain)**0.5
    textures = smooth_texture(hu.shape, 3.5, (interval, spacing), rng)
    for plane, texture in zip(hu, textures):
        lung = (plane > -960) & (plane < -600)
        spongy = (plane > 185) & (plane < 420)
        strength = np.full(plane.shape, 4, np.float32)
        strength[lung | spongy] = 15
        air = plane < -960
        strength[air] = 0
        texture *= strength
        texture += plane
        cv2.GaussianBlur(texture, (0, 0), 0.75 * grain / spacing, dst=plane)
        noise = correlated_noise((1, *plane.shape), sigma, grain, spacing, rng)[0]
        noise[air] *= np.float32(0.6)
        plane += noise
