"""Organs of chest, abdomen and pelvis, with the great vessels and the airways."""

import numpy as np

from .body import Enhancement, Patient, Region
from .canvas import Canvas

_GAS_HU = -940.0


def chest_wall_mm(canvas: Canvas, patient: Patient, depth: np.ndarray) -> np.ndarray:
    """Return the distance (mm) from the chest wall, positive inside, (D, H, W)."""
    level = canvas.z / np.float32(patient.scale_z)
    return depth - 18 - np.float32(1.5) * np.maximum(40 - level, 0)


def _lungs(canvas, patient, depth, wobble):
    level = canvas.z / np.float32(patient.scale_z)
    if float(level.min()) > 300:
        return
    _, y, _ = canvas.coordinates()
    # Base of the lungs: lowest in the posterior recess, highest at the front.
    base = np.interp(canvas.y.ravel(), (-90, -20, 70), (232, 255, 284))
    base = base.astype(np.float32)[None, :, None]
    inside = chest_wall_mm(canvas, patient, depth)
    distance = np.minimum(inside, (base - level) * np.float32(0.5))
    canvas.blend(distance, patient.lung_hu, Region.LUNG)


def _mediastinum(canvas, patient, e, wobble):
    sz, sx, sy = patient.scale_z, patient.scale_x, patient.scale_y
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


def _upper_abdomen(canvas, patient, depth, e, wobble):
    sz, sx, sy = patient.scale_z, patient.scale_x, patient.scale_y
    level = canvas.z.ravel() / sz
    if level.max() < 170 or level.min() > 480:
        return
    muscle_gap = depth - 15

    def organ(
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
        center = np.array(center) * (sx, sy, sz) + patient.jitter(name, spread)
        radii = np.array(radii) * (sx, sy, sz)
        found = canvas.ellipsoid_distance(center, radii, angle)
        if found is None:
            return None
        box, distance = found
        distance = distance + np.float32(rough) * wobble[box]
        np.minimum(distance, muscle_gap[box], out=distance)
        if rim:
            canvas.blend(distance, rim[1], label, box)
            distance = distance - np.float32(rim[0])
        canvas.blend(distance, hu, label, box)
        return box, distance

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
        name = f'kidney{side}'
        y = float(patient.spine_y(z * sz)) / sy + 2
        shift = patient.jitter(name, 6) / (sx, sy, sz)
        center = np.array((side * 62.0, y, z)) + shift
        angle = side * -0.6
        scale = np.array((sx, sy, sz))
        organ(
            f'{name} fat', center, (46, 42, 78), -104.0, Region.ABDOMEN, angle, spread=0
        )
        found = organ(
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
            continue
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


def _bowel(canvas, patient, depth, e, wobble):
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
    scale = np.array((sx, sy, sz))
    bladder = np.array((0, -28, 574)) * scale
    canvas.ellipsoid(bladder, (38, 30, 34) * scale, e.muscle - 10)
    canvas.ellipsoid(bladder, (35, 27, 31) * scale, 6.0)
    canvas.ellipsoid(
        (0, 12, 588) * scale,
        (26, 17, 24) * scale,
        e.muscle + 8,
        wobble=np.float32(2) * wobble,
    )


def _deep_muscles_and_vessels(canvas, patient, depth, e):
    sz, sx, sy = patient.scale_z, patient.scale_x, patient.scale_y
    soft = Region.SOFT_TISSUE
    z_all = np.array((-60, 60, 180, 260, 300, 340, 380, 420, 460, 520, 560, 610))
    spine = dict(zip(z_all, patient.spine_y(z_all * sz)))
    for side in (-1, 1):
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
    _upper_abdomen(canvas, patient, depth, enhancement, wobble)
    _deep_muscles_and_vessels(canvas, patient, depth, enhancement)
    _bowel(canvas, patient, depth, enhancement, wobble)
