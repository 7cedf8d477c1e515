"""Organs of chest, abdomen and pelvis, with the great vessels and the airways."""

import numpy as np

from .abdomen import (
    paint_bowel,
    paint_deep_muscles_and_vessels,
    paint_upper_abdomen,
)
from .body import Enhancement, Patient, Region
from .canvas import Canvas


def chest_wall_mm(canvas: Canvas, patient: Patient, depth: np.ndarray) -> np.ndarray:
    """Return the distance (mm) from the chest wall, positive inside, (D, H, W)."""
    level = canvas.z / np.float32(patient.scale_z)
    return depth - 18 - np.float32(1.5) * np.maximum(40 - level, 0)


def pleura_mm(canvas: Canvas, patient: Patient, depth: np.ndarray) -> np.ndarray:
    """Return the distance (mm) from the outer surface of the lungs, (D, H, W).

    The surface consists of the chest wall, the apex and the plane below the lungs. It
    does not include the mediastinum and the domes of the diaphragm. The distance is
    positive in the lungs. The three parts are (nearly) half-spaces, and the lung is
    their intersection, so the distance is the smallest of the three distances.
    """
    scale = patient.scale_z
    level = canvas.z / np.float32(scale)
    slope = 1.5 / scale
    distance = depth - 18
    apex = distance - np.float32(1.5) * (40 - level)
    apex *= np.float32(1 / np.hypot(1, slope))
    np.minimum(distance, apex, out=distance)
    base = (_base_level(canvas) - level) * np.float32(0.95 * scale)
    return np.minimum(distance, base, out=distance)


def _base_level(canvas):
    """Return the base of the lungs: highest at the front, lowest at the back."""
    base = np.interp(canvas.y.ravel(), (-90, -20, 70), (232, 255, 284))
    return base.astype(np.float32)[None, :, None]


def _lungs(canvas, patient, depth, wobble):
    level = canvas.z / np.float32(patient.scale_z)
    if float(level.min()) > 300:
        return
    inside = chest_wall_mm(canvas, patient, depth)
    distance = np.minimum(inside, (_base_level(canvas) - level) * np.float32(0.5))
    canvas.blend(distance, patient.lung_hu, Region.LUNG)


def _mediastinum(canvas, patient, e, wobble):
    sz, sx = patient.scale_z, patient.scale_x
    level = canvas.z.ravel() / sz
    if level.min() > 300:
        return
    a, b = patient.half_axes(100 * sz)
    spine = float(patient.spine_y(110 * sz))
    fat = np.float32(3) * wobble
    # A column of fat from the breastbone to the spine, wider at the hila.
    for x, y, z, rx, ry, rz in (
        (0, -0.25 * b, 30, 31, 0.72 * b, 110),
        (3, -0.40 * b, 115, 38, 0.60 * b, 80),
        (0, 0.42 * b, 140, 33, 0.50 * b, 180),
        (10, -0.55 * b, 190, 38, 40, 70),
        (2, 5, 125, 58, 20, 26),
    ):
        canvas.ellipsoid(
            (x * sx, y, z * sz),
            (rx * sx, ry, rz * sz),
            -95.0,
            Region.MEDIASTINUM,
            wobble=fat,
        )
    _heart(canvas, patient, e, wobble)
    _great_vessels(canvas, patient, e, spine)
    _airways(canvas, patient)


def _heart(canvas, patient, e, wobble):
    sz, sx, sy = patient.scale_z, patient.scale_x, patient.scale_y
    j = patient.jitter('heart')
    heart = np.array((20 * sx, -18 * sy, 190 * sz)) + j
    for (dx, dy, dz), radii, hu in (
        ((0, 0, 0), (60, 47, 58), e.muscle + 30 * e.strength),
        ((22, 10, 4), (27, 22, 36), e.heart),
        ((-10, -20, 0), (26, 17, 38), e.heart + 8),
        ((-38, 8, -8), (17, 21, 30), e.heart - 4),
        ((-4, 33, -18), (28, 14, 20), e.heart),
    ):
        canvas.ellipsoid(
            heart + (dx * sx, dy * sy, dz * sz),
            (radii[0] * sx, radii[1] * sy, radii[2] * sz),
            hu,
            Region.OTHER,
            0.5,
            wobble=np.float32(1.5) * wobble,
            edge_mm=2.5,
        )


def _great_vessels(canvas, patient, e, spine):
    sz, sx, sy = patient.scale_z, patient.scale_x, patient.scale_y
    artery, vein = e.artery, e.vein
    tubes = (
        (
            [
                (-14, -16, 165, 14),
                (-17, -20, 120, 15),
                (-12, -14, 88, 14),
                (4, 4, 76, 13),
                (18, spine - 24, 88, 12.5),
                (23, spine - 14, 125, 12),
                (21, spine - 18, 230, 11.5),
                (6, spine - 30, 300, 10.5),
            ],
            artery,
        ),
        ([(-31, -14, 30, 8), (-32, -16, 90, 9.5), (-28, -8, 165, 10)], vein),
        ([(18, -36, 165, 13), (12, -32, 125, 13), (22, -8, 112, 11)], e.heart),
        ([(12, -26, 122, 12), (-14, -4, 122, 10), (-45, 2, 128, 8)], e.heart),
        ([(22, -8, 112, 11), (46, 6, 124, 8)], e.heart),
        ([(-12, -20, 85, 6), (-20, -16, 40, 6), (-36, -8, -30, 5)], artery),
        ([(6, -10, 80, 5), (14, -6, 30, 4.5), (22, 2, -50, 4)], artery),
        ([(16, 2, 80, 5.5), (30, 4, 20, 5), (60, 8, -20, 5)], artery),
        ([(-31, -14, 32, 8), (-12, -28, 22, 7), (26, -24, -5, 7)], vein),
        (
            [
                (8, spine - 26, -60, 6),
                (6, spine - 27, 60, 7),
                (12, spine - 32, 200, 7.5),
                (22, spine - 40, 262, 8),
            ],
            45.0,
        ),
    )
    for points, hu in tubes:
        canvas.tube([(x * sx, y * sy, z * sz, r) for x, y, z, r in points], hu)


def _airways(canvas, patient):
    sz, sx, sy = patient.scale_z, patient.scale_x, patient.scale_y
    airway = (
        [(-2, 8, -60, 8.5), (-2, 10, 96, 8.5)],
        [(-2, 10, 94, 7.5), (-24, 12, 122, 6.5), (-38, 14, 150, 4.5)],
        [(-2, 10, 94, 7), (26, 14, 130, 6), (40, 18, 160, 4.2)],
    )
    for grow, hu in ((1.6, 40.0), (0.0, -990.0)):
        for points in airway:
            canvas.tube(
                [(x * sx, y * sy, z * sz, r + grow) for x, y, z, r in points], hu
            )


def paint_organs(
    canvas: Canvas,
    patient: Patient,
    enhancement: Enhancement,
    depth: np.ndarray,
    wobble: np.ndarray,
) -> None:
    """Paint all organs, from back to front, over the layers of the body.

    Args:
        canvas: Canvas, modified in place.
        patient: The patient.
        enhancement: HU of the enhanced organs.
        depth: From :func:`mmlesion.phantom.body.paint_layers`.
        wobble: From :meth:`Patient.wobble`.
    """
    _lungs(canvas, patient, depth, wobble)
    _mediastinum(canvas, patient, enhancement, wobble)
    paint_upper_abdomen(canvas, patient, enhancement, depth, wobble)
    paint_deep_muscles_and_vessels(canvas, patient, enhancement, depth)
    paint_bowel(canvas, patient, enhancement, wobble)
