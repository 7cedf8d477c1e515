"""Organs, vessels and deep muscles of the abdomen and the pelvis."""

from dataclasses import dataclass

import numpy as np

from .body import Enhancement, Patient, Region
from .canvas import Canvas

_GAS_HU = -940.0


@dataclass
class _Abdomen:
    """Painter of ellipsoids inside the muscles of the abdominal wall."""

    canvas: Canvas
    patient: Patient
    muscle_gap: np.ndarray
    wobble: np.ndarray

    def paint(
        self,
        name,
        center,
        radii,
        hu,
        label=Region.OTHER,
        angle=0.0,
        rough=1.5,
        spread=8.0,
        rim=None,
    ):
        """Return box and distance of the painted ellipsoid, None outside the canvas."""
        scale = self.patient.scale_x, self.patient.scale_y, self.patient.scale_z
        center = np.array(center) * scale + self.patient.jitter(name, spread)
        radii = np.array(radii) * scale
        found = self.canvas.ellipsoid_distance(center, radii, angle)
        if found is None:
            return None
        box, distance = found
        distance = distance + np.float32(rough) * self.wobble[box]
        np.minimum(distance, self.muscle_gap[box], out=distance)
        if rim:
            self.canvas.blend(distance, rim[1], label, box)
            distance = distance - np.float32(rim[0])
        self.canvas.blend(distance, hu, label, box)
        return box, distance


def paint_upper_abdomen(
    canvas: Canvas,
    patient: Patient,
    e: Enhancement,
    depth: np.ndarray,
    wobble: np.ndarray,
) -> None:
    """Paint liver, gallbladder, spleen, stomach, kidneys and pancreas.

    Args:
        canvas: Canvas, modified in place.
        patient: The patient.
        e: HU of the enhanced organs.
        depth: From :func:`mmlesion.phantom.body.paint_layers`.
        wobble: From :meth:`Patient.wobble`.
    """
    sz, sx, sy = patient.scale_z, patient.scale_x, patient.scale_y
    level = canvas.z.ravel() / sz
    if level.max() < 170 or level.min() > 480:
        return
    abdomen = _Abdomen(canvas, patient, depth - 15, wobble)
    organ = abdomen.paint
    # The left dome of the diaphragm is filled with fat, the right dome with the liver.
    organ('left dome', (58, -8, 305), (80, 88, 98), -103.0, Region.ABDOMEN)
    organ('liver', (-66, -4, 285), (92, 92, 84), e.liver, Region.LIVER, -0.25, 3, 6)
    organ('left lobe', (8, -46, 262), (66, 38, 46), e.liver, Region.LIVER, 0.15, 2)
    organ('gallbladder', (-42, -44, 345), (15, 20, 30), 9.0, rim=(1.5, 40.0))
    organ('spleen', (92, 34, 278), (34, 50, 52), e.spleen, Region.OTHER, -0.5, 2.5)
    stomach = organ(
        'stomach',
        (50, -34, 285),
        (46, 36, 52),
        18.0,
        angle=0.5,
        rim=(4.0, e.bowel_wall),
    )
    if stomach:
        box, distance = stomach
        surface = patient.jitter('fluid level', 20)[0] - 45 * sy
        gas = np.minimum(distance, surface - (canvas.y[:, box[1]]))
        canvas.blend(gas, _GAS_HU, Region.OTHER, box)
    for side, z in ((-1, 348), (1, 338)):
        _paint_kidney(abdomen, e, side, z)
    canvas.tube(
        [
            (x * sx, y * sy, z * sz, r)
            for x, y, z, r in (
                (-36, -12, 352, 14),
                (-22, -22, 345, 11),
                (6, -26, 332, 9),
                (40, -8, 318, 10),
                (68, 8, 302, 8),
            )
        ]
        + patient.jitter('pancreas', 6, 4) * (1, 1, 1, 0),
        e.pancreas,
        Region.ABDOMEN,
    )


def _paint_kidney(abdomen, e, side, z):
    canvas, patient = abdomen.canvas, abdomen.patient
    sz, sx, sy = patient.scale_z, patient.scale_x, patient.scale_y
    name = f'kidney{side}'
    y = float(patient.spine_y(z * sz)) / sy + 2
    shift = patient.jitter(name, 6) / (sx, sy, sz)
    center = np.array((side * 62.0, y, z)) + shift
    angle = side * -0.6
    scale = np.array((sx, sy, sz))
    abdomen.paint(
        f'{name} fat', center, (46, 42, 78), -104.0, Region.ABDOMEN, angle, spread=0
    )
    found = abdomen.paint(
        f'{name} cortex',
        center,
        (31, 26, 56),
        e.kidney,
        Region.KIDNEY,
        angle,
        1.0,
        0,
    )
    if found is None:
        return
    box, distance = found
    # Renal pyramids: darker ellipsoids in a ring between the cortex and the sinus.
    x, yy, zz = canvas.coordinates(box)
    around = np.sin(x * np.float32(0.36)) * np.sin(yy * np.float32(0.33) + 1)
    around = around * np.cos(zz * np.float32(0.3)) * np.float32(6)
    ring = np.minimum(distance - 6, 17 - distance)
    canvas.blend(np.minimum(ring, around), e.medulla, Region.KIDNEY, box, 3.0)
    canvas.ellipsoid(
        (center - (side * 13, 0, 0)) * scale, (17, 9, 26), -85.0, angle=angle
    )
    canvas.tube(
        [
            ((center[0] - side * 12) * sx, center[1] * sy, center[2] * sz, 4),
            (side * 12, (y - 24) * sy, (z - 8) * sz, 5),
        ],
        e.vein,
    )


def paint_bowel(
    canvas: Canvas, patient: Patient, e: Enhancement, wobble: np.ndarray
) -> None:
    """Paint large and small bowel, bladder, and uterus or prostate.

    Args:
        canvas: Canvas, modified in place.
        patient: The patient.
        e: HU of the enhanced organs.
        wobble: From :meth:`Patient.wobble`.
    """
    sz, sx, sy = patient.scale_z, patient.scale_x, patient.scale_y
    level = canvas.z.ravel() / sz
    if level.max() < 290 or level.min() > 640:
        return
    rng = patient.generator('bowel')

    def loop(points, content, wall=2.2):
        points = [(x * sx, y * sy, z * sz, r) for x, y, z, r in points]
        canvas.tube(points, e.bowel_wall)
        canvas.tube([(x, y, z, r - wall) for x, y, z, r in points], content)

    def content():
        return float(
            rng.choice(
                (_GAS_HU, 20.0, 15.0, 30.0, 260.0, -60.0),
                p=(0.2, 0.25, 0.15, 0.15, 0.15, 0.1),
            )
        )

    def haustra(start, end, radius, count):
        line = np.linspace(start, end, count)
        swell = radius * (1 + 0.16 * (-1.0) ** np.arange(count))
        return [(*p + rng.normal(0, 2, 3), r) for p, r in zip(line, swell)]

    loop(haustra((-100, 8, 345), (-92, -8, 480), 20, 12), content(), 2)
    loop(haustra((104, 22, 300), (100, 16, 470), 14, 12), content(), 2)
    loop(
        haustra((-96, -30, 350), (0, -66, 395 + rng.uniform(-20, 30)), 16, 9),
        content(),
        2,
    )
    loop(haustra((0, -66, 395), (100, -28, 318), 15, 9), content(), 2)
    loop(haustra((96, 10, 470), (20, 12, 540), 14, 9), content(), 2)
    loop(haustra((16, 24, 535), (0, 52, 590), 15, 6), content(), 2.5)
    for _ in range(int(rng.integers(20, 34))):
        z = rng.uniform(365, 540)
        center = np.array((rng.uniform(-82, 82), rng.uniform(-68, 12), z))
        way = rng.normal(0, 1, 3) * (1, 0.6, 0.9)
        way *= rng.uniform(14, 30) / np.linalg.norm(way)
        bend = rng.normal(0, 9, 3)
        radius = rng.uniform(8, 13)
        loop(
            [
                (*(center - way), radius),
                (*(center + bend), radius * 1.08),
                (*(center + way), radius),
            ],
            content(),
        )
    _paint_bladder(canvas, patient, e, wobble)


def _paint_bladder(canvas, patient, e, wobble):
    scale = np.array((patient.scale_x, patient.scale_y, patient.scale_z))
    bladder = np.array((0, -28, 574)) * scale
    canvas.ellipsoid(bladder, (38, 30, 34) * scale, e.muscle - 10)
    canvas.ellipsoid(bladder, (35, 27, 31) * scale, 6.0)
    canvas.ellipsoid(
        (0, 12, 588) * scale,
        (26, 17, 24) * scale,
        e.muscle + 8,
        wobble=np.float32(2) * wobble,
    )


def paint_deep_muscles_and_vessels(
    canvas: Canvas, patient: Patient, e: Enhancement, depth: np.ndarray
) -> None:
    """Paint muscles of back and hip, the aorta, the great veins and their branches.

    Args:
        canvas: Canvas, modified in place.
        patient: The patient.
        e: HU of the enhanced organs.
        depth: From :func:`mmlesion.phantom.body.paint_layers`.
    """
    sz, sx = patient.scale_z, patient.scale_x
    z_all = np.array((-60, 60, 180, 260, 300, 340, 380, 420, 460, 520, 560, 610))
    spine = dict(zip(z_all, patient.spine_y(z_all * sz)))
    for side in (-1, 1):
        _paint_muscles(canvas, patient, e, depth, spine, side)
        _paint_iliac_vessels(canvas, patient, e, spine, side)
    canvas.tube(
        [
            (6 * sx, spine[300] - 30, 290 * sz, 10.5),
            (3 * sx, spine[380] - 32, 380 * sz, 9.5),
            (2 * sx, spine[420] - 31, 424 * sz, 9),
        ],
        e.artery,
    )
    canvas.tube(
        [
            (-24 * sx, spine[260] - 40, 215 * sz, 11),
            (-21 * sx, spine[300] - 29, 300 * sz, 12),
            (-18 * sx, spine[420] - 27, 424 * sz, 11),
        ],
        e.vein,
    )
    canvas.tube(
        [
            (-14 * sx, spine[340] - 46, 345 * sz, 7),
            (-34 * sx, spine[300] - 50, 310 * sz, 7),
            (-55 * sx, spine[260] - 55, 290 * sz, 6),
        ],
        e.vein,
    )


def _paint_muscles(canvas, patient, e, depth, spine, side):
    sz, sx, sy = patient.scale_z, patient.scale_x, patient.scale_y
    soft = Region.SOFT_TISSUE
    # The gluteal muscles are outside the hip bone, the iliacus inside.
    a, b = patient.half_axes(540 * sz)
    for x, y, z, rx, ry, rz, angle in (
        (0.74, 0.40, 545, 62, 36, 100, 0.9),
        (0.52, 0.12, 500, 40, 16, 70, 0.95),
        (0.55, -0.15, 590, 42, 42, 60, 0),
    ):
        found = canvas.ellipsoid_distance(
            (side * x * a, y * b, z * sz), (rx * sx, ry * sy, rz * sz), side * angle
        )
        if found:
            box, distance = found
            np.minimum(distance, depth[box], out=distance)
            canvas.blend(distance, e.muscle, soft, box)
    canvas.tube(
        [
            (side * 31 * sx, spine[z] + 33, z * sz, r)
            for z, r in (
                (-60, 19),
                (60, 20),
                (180, 22),
                (300, 25),
                (420, 25),
                (520, 17),
            )
        ],
        e.muscle,
        soft,
    )
    canvas.tube(
        [
            (side * x * sx, spine[z] + dy, z * sz, r)
            for x, dy, z, r in (
                (26, 6, 300, 8),
                (34, 2, 380, 16),
                (42, -4, 460, 20),
                (56, -30, 560, 19),
                (70, -45, 610, 17),
            )
        ],
        e.muscle,
        soft,
    )
    canvas.tube(
        [(side * 58 * sx, spine[z] + 20, z * sz, 13) for z in (300, 380, 460)],
        e.muscle,
        soft,
    )


def _paint_iliac_vessels(canvas, patient, e, spine, side):
    sz, sx = patient.scale_z, patient.scale_x
    canvas.tube(
        [
            (side * x * sx, spine[z] - dy, z * sz, r)
            for x, dy, z, r in (
                (4, 31, 420, 8),
                (24, 38, 460, 6),
                (50, 52, 560, 5.5),
                (66, 75, 610, 5),
            )
        ],
        e.artery,
    )
    canvas.tube(
        [
            (side * x * sx, spine[z] - dy, z * sz, r)
            for x, dy, z, r in (
                (16, 27, 420, 9),
                (30, 28, 460, 7),
                (53, 40, 560, 7),
                (60, 66, 610, 6.5),
            )
        ],
        e.vein,
    )
