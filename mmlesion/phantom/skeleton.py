"""Bones: spine, ribs, sternum, shoulder blades, pelvis and hips."""

from collections.abc import Sequence

import numpy as np

from .body import Patient, Region
from .canvas import Box, Canvas

_VERTEBRA_MM = 31.0
_RIB_MM = 27.0


def _shell(
    canvas: Canvas,
    box: Box | None,
    distance: np.ndarray,
    patient: Patient,
    cortex_mm: float = 1.8,
    marrow_hu: float = 190.0,
) -> None:
    """Paint compact bone around spongy bone from a signed distance."""
    density = patient.bone_density
    canvas.blend(distance, 560.0 * density + 120, Region.OTHER, box)
    canvas.blend(
        distance - np.float32(cortex_mm), marrow_hu * density, Region.BONE, box
    )


def _spine(canvas: Canvas, patient: Patient) -> None:
    z = canvas.z.ravel()
    level = z / patient.scale_z
    size = np.interp(level, (-50, 150, 400, 500), (0.72, 0.9, 1.12, 1.2))
    y0 = patient.spine_y(z)
    box = canvas.box((-48, y0.min() - 30, z[0]), (48, y0.max() + 62, z[-1]))
    if box is None:
        return
    x, y, _ = canvas.coordinates(box)
    grow = (1 / size).astype(np.float32)[:, None, None]
    x = x * grow
    y = (y - y0.astype(np.float32)[:, None, None]) * grow
    phase = ((level / _VERTEBRA_MM) % 1.0).astype(np.float32)[:, None, None]
    # Vertebral body with a flat back, narrower at mid height, and the disc.
    waist = 1 - np.float32(0.07) * np.cos((phase - np.float32(0.5)) * 6.2832)
    body = (1 - np.sqrt(np.square(x / 22) + np.square((y + 1) / 17))) * 17 * waist
    body = np.minimum(body, 13.5 - y)
    disc = np.float32(0.10) - np.abs(phase - np.round(phase))
    bone = np.minimum(body, -disc * _VERTEBRA_MM)
    canvas.blend(body, 85.0, Region.OTHER, box)
    _shell(canvas, box, bone, patient)
    # Arch: a ring around the canal, transverse processes and the spinous process.
    canal = 1 - np.sqrt(np.square(x / 11) + np.square((y - 22) / 9))
    ring = np.float32(4.2) - np.abs(canal * 10 + np.float32(4.2))
    bony = np.float32(0.30) - np.abs(phase - np.float32(0.35))
    wing = np.minimum(5 - np.abs(y - 22 - np.abs(x) * np.float32(0.18)), 38 - np.abs(x))
    wing = np.minimum(
        wing, np.float32(0.14) * 30 - np.abs(phase - np.float32(0.32)) * 30
    )
    spinous = np.minimum(np.float32(4.6) - np.abs(x) - (y - 30) / 14, 55 - y)
    spinous = np.minimum(spinous, y - 27)
    arch = np.maximum(np.maximum(wing, spinous), np.minimum(ring, bony * 30 + 4))
    _shell(canvas, box, arch, patient, 1.4, 240.0)
    canvas.blend(canal * 9, 28.0, Region.OTHER, box)


def _ribs(canvas: Canvas, patient: Patient, depth: np.ndarray) -> None:
    level = canvas.z / np.float32(patient.scale_z)
    if float(level.min()) > 330:
        return
    x, y, z = canvas.coordinates()
    # Ribs descend from back to front, so that a slice cuts each rib at another
    # position.
    along = (level + np.float32(0.62) * -y) / np.float32(_RIB_MM)
    across = (along - np.round(along)) * np.float32(_RIB_MM)
    distance = np.square((depth - 11) * np.float32(1 / 4.4))
    distance += np.square(across * np.float32(1 / 7.5))
    distance = (1 - np.sqrt(distance)) * np.float32(4.4)
    np.minimum(distance, np.abs(x) - 24, out=distance)
    end = np.interp(level.ravel(), (180, 240, 300, 330), (-300, -40, 30, 130))
    np.minimum(distance, y - end.astype(np.float32)[:, None, None], out=distance)
    cartilage = np.minimum(distance, -62 - y)
    _shell(canvas, None, distance, patient, 1.3, 170.0)
    canvas.blend(cartilage, 115.0, Region.OTHER)


def _plate(
    canvas: Canvas,
    patient: Patient,
    center: Sequence[float] | np.ndarray,
    radii: Sequence[float] | np.ndarray,
    angle: float,
) -> None:
    found = canvas.ellipsoid_distance(center, radii, angle)
    if found:
        box, distance = found
        _shell(canvas, box, distance, patient)


def paint_skeleton(canvas: Canvas, patient: Patient, depth: np.ndarray) -> None:
    """Paint all bones.

    Args:
        canvas: Canvas, modified in place.
        patient: The patient.
        depth: From :func:`mmlesion.phantom.body.paint_layers`.
    """
    sz = patient.scale_z
    half = patient.half_axes
    _ribs(canvas, patient, depth)
    _spine(canvas, patient)
    a, b = half(90 * sz)
    _plate(canvas, patient, (0, -b + 12, 95 * sz), (19, 6.5, 90 * sz), 0)
    for side in (-1, 1):
        _plate(
            canvas,
            patient,
            (side * a * 0.72, b * 0.66, 60 * sz),
            (36, 5, 75 * sz),
            side * -0.5,
        )
        _plate(
            canvas, patient, (side * 48, -b * 0.75, -12 * sz), (44, 7, 9), side * 0.3
        )
        # Pelvis: the iliac wing as a flat ellipsoid, the joint and the hip.
        a5, b5 = half(500 * sz)
        _plate(
            canvas,
            patient,
            (side * a5 * 0.60, b5 * 0.22, 490 * sz),
            (52, 8.5, 72 * sz),
            side * 0.95,
        )
        _plate(
            canvas,
            patient,
            (side * a5 * 0.58, b5 * 0.0, 570 * sz),
            (16, 34, 34),
            side * -0.35,
        )
        a6, b6 = half(600 * sz)
        _plate(
            canvas, patient, (side * a6 * 0.60, b6 * 0.02, 592 * sz), (25, 25, 26), 0
        )
        _plate(
            canvas, patient, (side * a6 * 0.83, b6 * 0.10, 620 * sz), (19, 17, 36), 0
        )
        _plate(
            canvas, patient, (side * 40, -b6 * 0.42, 622 * sz), (42, 8, 16), side * 0.35
        )
    _plate(
        canvas,
        patient,
        (0, float(patient.spine_y(520 * sz)) + 14, 520 * sz),
        (52, 19, 62 * sz),
        0,
    )
