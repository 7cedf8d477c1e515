"""Key slice with neighboring slices: anatomy, lesions, vessels, noise."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import ArrayLike

from mmlesion.ct.recist import Recist, recist

from .body import Enhancement, Patient, Region, paint_layers
from .canvas import Canvas
from .focus import Focus, paint_focus
from .noise import correlated_noise, smooth_texture
from .organs import paint_organs
from .place import Layout, place_foci
from .skeleton import paint_skeleton
from .vessels import paint_vessel_trees

_VOXELS_AT_ONCE = 1_200_000
# Pixel spacings (mm) frequent in DeepLesion between 0.5 and 0.98.
SPACINGS_MM = (
    0.535156,
    0.585938,
    0.625,
    0.664062,
    0.691406,
    0.703125,
    0.732422,
    0.742188,
    0.78125,
    0.820312,
    0.859375,
    0.898438,
    0.9375,
    0.976562,
)
# Slice interval (mm), probability, and number of thin slices averaged into one slice.
INTERVALS_MM = (
    (1.0, 0.25, 1),
    (2.0, 0.25, 1),
    (2.5, 0.15, 2),
    (3.0, 0.1, 2),
    (5.0, 0.25, 3),
)


@dataclass
class Protocol:
    """Acquisition parameters that all slices of a series share.

    Attributes:
        enhancement: HU of the enhanced organs.
        interval_mm: Distance between slices, equal to their thickness.
        parts: Number of thin slices averaged into one slice.
        spacing_mm: Pixel spacing.
        grain_mm: Grain size of the noise, which depends on the reconstruction kernel.
        sigma_hu: Standard deviation of the noise.
    """

    enhancement: Enhancement
    interval_mm: float
    parts: int
    spacing_mm: float
    grain_mm: float
    sigma_hu: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> 'Protocol':
        """Draw a protocol; thin slices and sharp kernels are noisier."""
        enhancement = Enhancement(0.0 if rng.random() < 0.25 else rng.uniform(0.6, 1.0))
        weights = np.array([w for _, w, _ in INTERVALS_MM])
        interval, _, parts = INTERVALS_MM[rng.choice(len(INTERVALS_MM), p=weights)]
        grain = rng.uniform(0.5, 0.9)
        sigma = rng.uniform(5, 10.5) * (5 / interval) ** 0.25 * (0.8 / grain) ** 0.5
        return cls(
            enhancement, interval, parts, float(rng.choice(SPACINGS_MM)), grain, sigma
        )


@dataclass
class Scan:
    """A simulated key slice with its neighboring slices.

    Attributes:
        hu: (D, H, W) int16.
        mask: (D, H, W) uint8: 0, or 1 + index of the lesion.
        key: Index of the key slice in D.
        diameters: One :class:`Recist` per lesion, in the key slice.
        location: (x, y, z) of each lesion as fractions of the body.
        layout: Height, field of view and foci.
        protocol: Acquisition parameters.
    """

    hu: np.ndarray
    mask: np.ndarray
    key: int
    diameters: list[Recist]
    location: list[tuple[float, float, float]]
    layout: Layout
    protocol: Protocol

    @property
    def lesions(self) -> list[Focus]:
        """Lesions in the order of their numbers in the mask."""
        return self.layout.lesions

    @property
    def vessels(self) -> list[Focus]:
        """Vessels that look like lesions in the key slice."""
        return self.layout.vessels

    @property
    def spacing_mm(self) -> float:
        """Pixel spacing in mm."""
        return self.layout.spacing_mm

    @property
    def interval_mm(self) -> float:
        """Slice distance in mm."""
        return self.protocol.interval_mm

    @property
    def origin_mm(self) -> tuple[float, float]:
        """Patient coordinates x and y of the center of the first pixel."""
        return self.layout.origin_mm


def paint_anatomy(
    z_mm: ArrayLike,
    y_mm: ArrayLike,
    x_mm: ArrayLike,
    patient: Patient,
    enhancement: Enhancement,
    with_labels: bool = False,
) -> Canvas:
    """Paint a patient without lesions on a grid, and return the canvas."""
    canvas = Canvas(z_mm, y_mm, x_mm, patient.warp(z_mm, y_mm, x_mm), with_labels)
    wobble = patient.wobble(canvas)
    depth = paint_layers(canvas, patient, enhancement, wobble)
    paint_organs(canvas, patient, enhancement, depth, wobble)
    paint_vessel_trees(canvas, patient, enhancement)
    paint_skeleton(canvas, patient, depth)
    return canvas


def paint_table(canvas: Canvas, y_mm: float) -> None:
    """Paint the curved table below the body, with its center at height ``y_mm``."""
    for drop, thick, hu in ((0, 1.6, 180.0), (26, 1.2, 40.0)):
        arc = y_mm + drop - np.square(canvas.x) / 900
        distance = np.float32(thick) - np.abs(canvas.y - arc)
        np.minimum(distance, 215 - np.abs(canvas.x), out=distance)
        canvas.blend(np.broadcast_to(distance, canvas.hu.shape).copy(), hu)


def simulate_scan(
    patient: Patient,
    rng: np.random.Generator,
    size: int = 512,
    context_mm: float = 20.0,
    region: Region | None = None,
    num_vessels: tuple[int, int] = (3, 6),
    follow: Scan | None = None,
) -> Scan:
    """Simulate one key slice with its neighboring slices.

    Args:
        patient: The patient.
        rng: Generator of everything that differs between scans of a patient.
        size: Image width and height in pixels. At 512 the whole body is visible, below
            512 only a part of it is reconstructed.
        context_mm: Minimum extent of the slices on both sides of the key slice.
        region: Region of the first focus; drawn at random if None.
        num_vessels: Smallest and largest number of look-alike vessels.
        follow: A scan of the same patient. The new slices end where its slices
            begin, in the same field of view.

    Returns:
        A :class:`Scan` with at least one lesion.

    Raises:
        RuntimeError: If no lesion fits.
    """
    for _ in range(20 if follow is None else 4):
        scan = _try_scan(patient, rng, size, context_mm, region, num_vessels, follow)
        if scan is not None:
            return scan
    raise RuntimeError(
        f'no lesion fits: image size {size} px is too small for region {region}'
    )


def _try_scan(patient, rng, size, context_mm, region, num_vessels, follow):
    protocol = Protocol.draw(rng) if follow is None else follow.protocol
    interval, parts = protocol.interval_mm, protocol.parts
    half = int(np.ceil(context_mm / interval - 1e-9))
    view = None
    if follow is not None:
        slices = len(follow.hu) - follow.key + half
        view = replace(follow.layout, z_mm=follow.layout.z_mm + slices * interval)
    layout = place_foci(
        patient,
        protocol.enhancement,
        rng,
        size,
        protocol.spacing_mm,
        paint_anatomy,
        region,
        num_vessels,
        view,
    )
    if layout is None:
        return None
    protocol = replace(protocol, spacing_mm=layout.spacing_mm)
    spacing = layout.spacing_mm
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
        piece = z_fine[first * parts : last * parts]
        canvas = paint_anatomy(piece, y, x, patient, protocol.enhancement)
        paint_table(canvas, table_y)
        for vessel in layout.vessels:
            paint_focus(canvas, vessel, vessel.region == Region.BONE)
        for n, lesion in enumerate(layout.lesions):
            painted = paint_focus(canvas, lesion, lesion.region == Region.BONE)
            if painted:
                box, weight = painted
                full = np.zeros(canvas.hu.shape, np.float32)
                full[box] = weight
                cover[n, first:last] = full.reshape(
                    last - first, parts, size, size
                ).mean(1)
        hu[first:last] = canvas.hu.reshape(last - first, parts, size, size).mean(1)
    mask = np.zeros(hu.shape, np.uint8)
    for n in range(len(layout.lesions)):
        mask[cover[n] > 0.5] = n + 1
    kept = _measured(layout, mask[half], spacing)
    if kept is None:
        return None
    finish(hu, protocol, rng)
    hu = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    location = [_location(patient, f) for f in layout.lesions]
    return Scan(hu, mask, half, kept, location, layout, protocol)


def _measured(
    layout: Layout, key_mask: np.ndarray, spacing: float
) -> list[Recist] | None:
    """Return the diameters of all lesions; None if a lesion is hidden."""
    found = []
    for n, lesion in enumerate(layout.lesions):
        area = float((key_mask == n + 1).sum()) * spacing**2
        expected = 3.14 * lesion.radius_mm**2 * lesion.aspect
        if area < 0.6 * expected:
            return None
        found.append(recist(key_mask == n + 1))
    return found


def _location(patient: Patient, focus: Focus):
    half_x, half_y = patient.half_axes(focus.center[2])
    x = 0.5 + focus.center[0] / (2 * (half_x + patient.fat_mm))
    y = 0.5 + focus.center[1] / (2 * (half_y + patient.fat_mm))
    return (
        float(np.clip(x, 0, 1)),
        float(np.clip(y, 0, 1)),
        patient.fraction_z(focus.center[2]),
    )


def finish(hu: np.ndarray, protocol: Protocol, rng: np.random.Generator) -> None:
    """Add tissue texture, the blur of the kernel and noise, in place."""
    grain, spacing = protocol.grain_mm, protocol.spacing_mm
    textures = smooth_texture(hu.shape, 3.5, (protocol.interval_mm, spacing), rng)
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
        noise = correlated_noise(
            (1, *plane.shape), protocol.sigma_hu, grain, spacing, rng
        )[0]
        noise[air] *= np.float32(0.6)
        plane += noise
