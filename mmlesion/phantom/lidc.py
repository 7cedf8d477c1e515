"""Simulated chest CT with nodules in the layout of LIDC-IDRI."""

import csv
import itertools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from mmlesion.ct import CTVolume, volume_to_image
from mmlesion.ct.dicom import write_dicom_image
from mmlesion.files import write_json

from .body import Patient, Region
from .focus import Focus, paint_focus
from .lidc_readers import lidc_xml, read_nodule
from .made_with import build_folder, simulate_missing
from .scan import Protocol, finish, paint_anatomy, paint_table

# Increased whenever a seed gives different images, so that versions are not mixed.
LIDC_PHANTOM_VERSION = 1
_COLUMNS = (
    'patient',
    'series_uid',
    'nodule',
    'malignant',
    'diameter_mm',
    'z_mm',
    'y_px',
    'x_px',
)
_HALF_MM = 28.0  # half height of the part of the lung in a series
_COARSE_MM = 2.5
# Slice distance (mm) and number of thin slices that are averaged into one slice.
_INTERVALS_MM = ((1.25, 1), (2.0, 2), (2.5, 2))


@dataclass
class NoduleScan:
    """A simulated part of the lungs with nodules.

    Attributes:
        hu: (D, H, W) int16, from the feet to the head.
        masks: Ground-truth masks of the nodules, each (D, H, W) bool.
        foci: Painted shapes in the order of ``masks``.
        malignant: Whether each nodule is malignant.
        spacing_mm: (z, y, x).
        origin: World position (x, y, z) of the center of the first voxel, mm.
    """

    hu: np.ndarray
    masks: list[np.ndarray]
    foci: list[Focus]
    malignant: list[bool]
    spacing_mm: tuple[float, float, float]
    origin: tuple[float, float, float]


def write_lidc(
    out_dir: str | Path,
    num_patients: int = 40,
    size: int = 160,
    seed: int = 0,
    workers: int = 1,
) -> Path:
    """Simulate chest CT with nodules and write it in the layout of LIDC-IDRI.

    The output contains ``LIDC-IDRI-0001/<study>/<series>/*.dcm`` with the XML of four
    readers in the same folder, one series per patient. In addition to LIDC-IDRI, it
    contains ``truth.csv`` (the nodules as painted) and ``phantom.json`` (the settings).
    Nodules are benign (smooth, round, sometimes calcified) or malignant (spiculated,
    lobulated). The diameters of the two classes overlap, so that the margin is more
    informative than the size.

    A patient depends only on ``seed`` and the number of the patient. Everything is
    written to ``<out_dir>.partial``, which is renamed at the end. An interrupted run
    resumes where it stopped.

    Args:
        out_dir: Output folder.
        num_patients: Number of patients.
        size: Width and height in pixels. Only a part of the chest is reconstructed.
        seed: Random seed.
        workers: Number of processes.

    Returns:
        The output folder.

    Raises:
        ValueError: If an argument is out of range.
        FileExistsError: If ``out_dir`` contains anything else.
    """
    if not 1 <= num_patients <= 9999:
        raise ValueError(f'num_patients must be 1 to 9999, got {num_patients}')
    if not 128 <= size <= 512:
        raise ValueError(f'size must be 128 to 512 pixels, got {size}')
    if seed < 0 or workers < 1:
        raise ValueError(
            f'seed must be 0 or more and workers 1 or more, got {seed} and {workers}'
        )
    out_dir = Path(out_dir)
    settings = dict(
        version=LIDC_PHANTOM_VERSION,
        layout='lidc',
        num_patients=int(num_patients),
        size=int(size),
        seed=int(seed),
    )
    with build_folder(out_dir, settings) as partial:
        if partial is not None:
            _build(partial, out_dir, settings, workers)
    return out_dir


def _build(partial: Path, out_dir: Path, settings: dict, workers: int) -> None:
    """Simulate the missing patients, then write the tables."""
    names = [f'{number:04d}' for number in range(1, settings['num_patients'] + 1)]
    jobs = {name: (str(partial), settings, int(name)) for name in names}
    rows = simulate_missing(_write_patient, jobs, partial, out_dir, workers, 'patient')
    with open(partial / 'truth.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator='\n')
        writer.writeheader()
        writer.writerows(itertools.chain(*rows))


def _write_patient(job: tuple) -> None:
    root, settings, number = Path(job[0]), job[1], job[2]
    rng = np.random.default_rng([settings['seed'], number])
    name = f'LIDC-IDRI-{number:04d}'
    folder = root / name
    if folder.exists():  # incomplete, from an interrupted run
        shutil.rmtree(folder)
    scan = simulate_nodule_scan(Patient(rng), rng, settings['size'])
    uids: list[str] = []

    def new_uid() -> str:
        uids.append(f'2.25.{int.from_bytes(rng.bytes(16), "big")}')
        return uids[-1]

    volume = CTVolume(scan.hu, scan.spacing_mm, scan.origin)
    series = folder / 'study' / 'series'
    write_dicom_image(str(series), volume_to_image(volume), name, new_uid)
    study_uid, series_uid, _, *slice_uids = uids
    z_mm = [scan.origin[2] + k * scan.spacing_mm[0] for k in range(len(scan.hu))]
    readings, rows = [], []
    for index, (mask, focus, malignant) in enumerate(
        zip(scan.masks, scan.foci, scan.malignant)
    ):
        readings.append(
            read_nodule(
                mask,
                malignant,
                focus.core_hu > 100,
                focus.aspect,
                scan.spacing_mm[1],
                rng,
            )
        )
        rows.append(
            dict(
                patient=name,
                series_uid=series_uid,
                nodule=index,
                malignant=int(malignant),
                **_size_and_place(mask, scan),
            )
        )
    middle = len(scan.hu) // 2
    xml = lidc_xml(
        study_uid,
        series_uid,
        slice_uids,
        z_mm,
        readings,
        small=[(middle, 5, 6)],
        others=[(middle + 1, 9, 8)],
    )
    (series / f'{number:03d}.xml').write_bytes(xml)
    # TCIA names folders by their UIDs.
    series.rename(series.with_name(series_uid))
    (folder / 'study').rename(folder / study_uid)
    write_json(root / 'rows' / f'{number:04d}.json', rows)


def _size_and_place(mask: np.ndarray, scan: NoduleScan) -> dict[str, float]:
    z, y, x = (float(places.mean()) for places in np.nonzero(mask))
    volume_mm3 = mask.sum() * np.prod(scan.spacing_mm)
    return dict(
        diameter_mm=round(float(np.cbrt(6 * volume_mm3 / np.pi)), 4),
        z_mm=round(scan.origin[2] + z * scan.spacing_mm[0], 4),
        y_px=round(y, 3),
        x_px=round(x, 3),
    )


def simulate_nodule_scan(
    patient: Patient, rng: np.random.Generator, size: int = 160
) -> NoduleScan:
    """Simulate a part of the lungs with one to three nodules.

    Args:
        patient: The patient.
        rng: Random number generator.
        size: Width and height in pixels.

    Returns:
        The scan. The first nodule is near its center.

    Raises:
        RuntimeError: If no nodule fits.
    """
    interval, parts = _INTERVALS_MM[rng.integers(len(_INTERVALS_MM))]
    protocol = replace(
        Protocol.draw(rng),
        interval_mm=interval,
        parts=parts,
        spacing_mm=float(rng.choice((0.585938, 0.664062, 0.703125))),
    )
    for _ in range(20):
        scan = _try_scan(patient, protocol, rng, size)
        if scan is not None:
            return scan
    raise RuntimeError(f'no nodule fits: image size {size} px is too small')


def _try_scan(
    patient: Patient, protocol: Protocol, rng: np.random.Generator, size: int
) -> NoduleScan | None:
    interval, spacing = protocol.interval_mm, protocol.spacing_mm
    z_middle = rng.uniform(70, 180) * patient.scale_z
    half = round(_HALF_MM / interval)
    z = z_middle + interval * np.arange(-half, half + 1)  # toward the feet
    placed = _place(patient, protocol, z, size * spacing, rng)
    if placed is None:
        return None
    foci, malignant, (left, top), back_mm = placed
    x, y = left + spacing * np.arange(size), top + spacing * np.arange(size)
    hu = np.empty((z.size, size, size), np.float32)
    cover = np.zeros((len(foci), *hu.shape), np.float32)
    inside = (np.arange(protocol.parts) + 0.5) / protocol.parts - 0.5
    for first in range(0, z.size, 8):
        piece = z[first : first + 8]
        fine = (piece[:, None] + interval * inside).ravel()
        shape = (piece.size, protocol.parts, size, size)
        canvas = paint_anatomy(fine, y, x, patient, protocol.enhancement)
        paint_table(canvas, back_mm + 6)
        for index, focus in enumerate(foci):
            painted = paint_focus(canvas, focus)
            if painted:
                box, weight = painted
                full = np.zeros(canvas.hu.shape, np.float32)
                full[box] = weight
                cover[index, first : first + 8] = full.reshape(shape).mean(1)
        hu[first : first + 8] = canvas.hu.reshape(shape).mean(1)
    masks = cover > 0.5
    for focus, mask in zip(foci, masks):
        # The nodule is hidden by another structure or too small to be visible.
        if mask.sum() * interval * spacing**2 < 0.4 * 4.19 * focus.radius_mm**3:
            return None
    finish(hu, protocol, rng)
    hu = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    return NoduleScan(
        np.ascontiguousarray(hu[::-1]),
        [mask[::-1] for mask in masks],
        foci,
        malignant,
        (interval, spacing, spacing),
        (round(left, 2), round(top, 2), round(-float(z[-1]), 2)),
    )


def _place(
    patient: Patient,
    protocol: Protocol,
    z: np.ndarray,
    side_mm: float,
    rng: np.random.Generator,
) -> tuple | None:
    """Return nodules, field of view (left, top) and y of the back's skin, in mm."""
    half_x, half_y = (
        float(v) + 1.5 * patient.fat_mm for v in patient.half_axes(float(np.median(z)))
    )
    x = np.arange(-half_x, half_x, _COARSE_MM)
    y = np.arange(-half_y, half_y, _COARSE_MM)
    levels = np.linspace(z[0] + 14, z[-1] - 14, 5)
    coarse = paint_anatomy(levels, y, x, patient, protocol.enhancement, True)
    assert coarse.labels is not None
    room = np.stack(
        [
            cv2.distanceTransform(
                (plane == Region.LUNG).astype(np.uint8), cv2.DIST_L2, 3
            )
            * _COARSE_MM
            for plane in coarse.labels
        ]
    )
    body = np.flatnonzero((coarse.hu[2] > -500).any(1))
    back_mm = float(y[body[-1]]) if body.size else half_y
    foci: list[Focus] = []
    malignant: list[bool] = []
    corner = None
    for index in range(int(rng.choice((1, 2, 3), p=(0.5, 0.35, 0.15)))):
        kind = bool(rng.random() < 0.5)
        radius = draw_nodule_diameter(kind, rng) / 2
        allowed = _free_voxels(room, (levels, y, x), radius, foci, corner, side_mm)
        spots = np.flatnonzero(allowed)
        if not spots.size:
            if index == 0:
                return None
            continue
        k, j, i = np.unravel_index(spots[rng.integers(spots.size)], allowed.shape)
        center = np.array((x[i], y[j], levels[k])) + rng.uniform(-1, 1, 3)
        if corner is None:
            corner = tuple(
                float(c - side_mm / 2 + rng.uniform(-0.15, 0.15) * side_mm)
                for c in center[:2]
            )
        foci.append(draw_nodule(center, radius, kind, rng))
        malignant.append(kind)
    return foci, malignant, corner, back_mm


def _free_voxels(
    room: np.ndarray,
    axes: tuple[np.ndarray, np.ndarray, np.ndarray],
    radius: float,
    foci: list[Focus],
    corner: tuple[float, ...] | None,
    side_mm: float,
) -> np.ndarray:
    """Return the voxels (D, H, W) where the center of a nodule may be."""
    levels, y, x = axes
    allowed = room > 1.3 * radius + 2
    if corner is None:
        allowed[[0, -1]] = False
    else:  # a square of two diameters is inside the field of view
        margin = 2 * radius + 4
        allowed &= (x > corner[0] + margin) & (x < corner[0] + side_mm - margin)
        allowed &= ((y > corner[1] + margin) & (y < corner[1] + side_mm - margin))[
            :, None
        ]
    for other in foci:
        apart = np.sqrt(
            (levels[:, None, None] - other.center[2]) ** 2
            + (y[:, None] - other.center[1]) ** 2
            + (x - other.center[0]) ** 2
        )
        allowed &= apart > 2 * (radius + other.radius_mm) + 6
    return allowed


def draw_nodule_diameter(malignant: bool, rng: np.random.Generator) -> float:
    """Draw a diameter in mm, log-uniform: benign 5 to 13, malignant 7 to 18."""
    low, high = (7, 18) if malignant else (5, 13)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_nodule(
    center: Sequence[float] | np.ndarray,
    radius_mm: float,
    malignant: bool,
    rng: np.random.Generator,
) -> Focus:
    """Draw a nodule: benign nodules are smooth and round, malignant ones spiculated."""
    size = rng.uniform(0.07, 0.13) if malignant else rng.uniform(0.01, 0.04)
    orders = np.array((2, 3, 4, 5), float)
    outline = np.stack(
        (
            orders,
            size * rng.uniform(0.3, 1.2, 4) * (3 / orders) ** 0.7,
            rng.uniform(0, 6.28, 4),
            rng.normal(0, 0.03, 4),
        ),
        axis=1,
    ).astype(np.float32)
    spikes = (0, 0.0, 0.0)
    if malignant:
        spikes = (
            int(rng.integers(8, 14)),
            float(rng.uniform(0.35, 0.6)),
            float(rng.uniform(0, 6.28)),
        )
    calcified = not malignant and rng.random() < 0.15
    slope, way = rng.uniform(0, 0.3), rng.uniform(0, 6.28)
    return Focus(
        center=(float(center[0]), float(center[1]), float(center[2])),
        radius_mm=radius_mm,
        half_length_mm=radius_mm * float(rng.uniform(0.85, 1.1)),
        slope=(slope * np.cos(way), slope * np.sin(way)),
        outline=outline,
        aspect=float(rng.uniform(0.65, 0.95) if malignant else rng.uniform(0.8, 0.98)),
        angle=float(rng.uniform(0, 3.14)),
        spikes=spikes,
        hu=float(rng.uniform(-60, 70)),
        texture_hu=float(rng.uniform(0, 9)),
        core_hu=float(rng.uniform(200, 400)) if calcified else 0.0,
        edge_mm=float(rng.uniform(0.8, 1.6)),
        region=int(Region.LUNG),
        texture_seed=int(rng.integers(2**31)),
    )
