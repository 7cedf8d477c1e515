"""Simulated chest CT with nodules in the layout of LIDC-IDRI."""

import csv
import itertools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_fill_holes

from mmlesion.ct import CTVolume, volume_to_image
from mmlesion.ct.dicom import write_dicom_image
from mmlesion.files import write_json

from .body import Patient
from .lidc_nodules import (
    ATTACHED_SHARE,
    GROUND_GLASS_SHARE,
    Nodule,
    NoduleKind,
    draw_kind,
    draw_nodule,
    paint_nodule,
)
from .lidc_places import Bounds, LungMap, find_place
from .lidc_readers import lidc_xml, read_nodule
from .made_with import build_folder, simulate_missing
from .scan import Protocol, finish, paint_anatomy, paint_table

# Increased whenever a seed gives different images, so that versions are not mixed.
LIDC_PHANTOM_VERSION = 2
_COLUMNS = (
    'patient',
    'series_uid',
    'nodule',
    'malignant',
    'attached',
    'texture',
    'diameter_mm',
    'z_mm',
    'y_px',
    'x_px',
)
_HALF_MM = 28.0  # half height of the part of the lung in a series
_OFF_CENTER = 0.15  # largest distance of the first nodule, relative to the image
_TOUCHING = 0.05  # minimum part of an attached nodule's shape in wall or vessel
_WHOLE_CHEST_PX = 384  # images of this size show the whole chest
# Slice distance (mm) and number of thin slices that are averaged into one slice.
_INTERVALS_MM = ((1.25, 1), (2.0, 2), (2.5, 2))


@dataclass
class NoduleScan:
    """A simulated part of the lungs with nodules.

    Attributes:
        hu: (D, H, W) int16, from the feet to the head.
        masks: Ground-truth masks of the nodules without the wall and the vessels that
            they touch, each (D, H, W) bool.
        nodules: Nodules in the order of ``masks``.
        spacing_mm: (z, y, x).
        origin: World position (x, y, z) of the center of the first voxel, mm.
    """

    hu: np.ndarray
    masks: list[np.ndarray]
    nodules: list[Nodule]
    spacing_mm: tuple[float, float, float]
    origin: tuple[float, float, float]


def write_lidc(
    out_dir: str | Path,
    num_patients: int = 40,
    size: int = 160,
    seed: int = 0,
    workers: int = 1,
    attached: float = ATTACHED_SHARE,
    ground_glass: float = GROUND_GLASS_SHARE,
) -> Path:
    """Simulate chest CT with nodules and write it in the layout of LIDC-IDRI.

    The output contains ``LIDC-IDRI-0001/<study>/<series>/*.dcm`` with the XML of four
    readers in the same folder, one series per patient. In addition to LIDC-IDRI, it
    contains ``truth.csv`` (the nodules as painted) and ``phantom.json`` (the settings).
    Nodules are benign (smooth, round, sometimes calcified) or malignant (spiculated,
    lobulated). The diameters of the two classes overlap, so that the margin is more
    informative than the size. Nodules lie anywhere in the lungs. Some touch the
    surface of the lung or a vessel, and some are of ground glass; both are independent
    of malignancy.

    A patient depends only on ``seed`` and the number of the patient. Everything is
    written to ``<out_dir>.partial``, which is renamed at the end. An interrupted run
    resumes where it stopped.

    Args:
        out_dir: Output folder.
        num_patients: Number of patients.
        size: Width and height in pixels. Below 384, only a part of the chest is
            reconstructed.
        seed: Random seed.
        workers: Number of processes.
        attached: Share of the nodules that touch the surface of the lung or a vessel.
        ground_glass: Share of the nodules of ground glass, with and without a solid
            core.

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
    for name, share in (('attached', attached), ('ground_glass', ground_glass)):
        if not 0 <= share <= 1:
            raise ValueError(f'{name} must be 0 to 1, got {share:g}')
    out_dir = Path(out_dir)
    settings = dict(
        version=LIDC_PHANTOM_VERSION,
        layout='lidc',
        num_patients=int(num_patients),
        size=int(size),
        seed=int(seed),
        attached=float(attached),
        ground_glass=float(ground_glass),
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
    scan = simulate_nodule_scan(
        Patient(rng),
        rng,
        settings['size'],
        settings['attached'],
        settings['ground_glass'],
    )
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
    for index, (mask, nodule) in enumerate(zip(scan.masks, scan.nodules)):
        readings.append(read_nodule(mask, nodule, scan.spacing_mm[1], rng))
        rows.append(
            dict(
                patient=name,
                series_uid=series_uid,
                nodule=index,
                malignant=int(nodule.kind.malignant),
                attached=nodule.kind.attached,
                texture=nodule.kind.texture,
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
    patient: Patient,
    rng: np.random.Generator,
    size: int = 160,
    attached: float = ATTACHED_SHARE,
    ground_glass: float = GROUND_GLASS_SHARE,
) -> NoduleScan:
    """Simulate a part of the lungs with one to three nodules.

    Args:
        patient: The patient.
        rng: Random number generator.
        size: Width and height in pixels. Below 384, only a part of the chest is
            reconstructed.
        attached: Share of the nodules that touch the surface of the lung or a vessel.
        ground_glass: Share of the nodules of ground glass.

    Returns:
        The scan. The first nodule is near its center if a part of the chest is
        reconstructed.

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
    # A kind is drawn only once, so that kinds that fit rarely keep their share.
    count = int(rng.choice((1, 2, 3), p=(0.5, 0.35, 0.15)))
    kinds = [draw_kind(rng, attached, ground_glass) for _ in range(count)]
    lungs = LungMap.of(patient, protocol.enhancement)
    for _ in range(20):
        layout = _draw_layout(patient, protocol, lungs, kinds, size, rng)
        scan = layout and _paint_scan(patient, protocol, layout, size, rng)
        if scan:
            return scan
    raise RuntimeError(f'no nodule fits: image size {size} px is too small')


@dataclass
class _Layout:
    """Field of view and nodules of a scan, in mm of the patient.

    Attributes:
        nodules: The nodules.
        z_mm: Height of the middle slice.
        corner_mm: x and y of the center of the first pixel.
        spacing_mm: Pixel spacing.
        back_mm: y of the skin of the back.
    """

    nodules: list[Nodule]
    z_mm: float
    corner_mm: tuple[float, float]
    spacing_mm: float
    back_mm: float


def _draw_layout(
    patient: Patient,
    protocol: Protocol,
    lungs: LungMap,
    kinds: list[NoduleKind],
    size: int,
    rng: np.random.Generator,
) -> _Layout | None:
    """Draw the places of the nodules and the field of view around the first nodule."""
    place = find_place(kinds[0], lungs, patient, protocol.enhancement, [], None, rng)
    if place is None:
        return None
    z_mm = float(place[2] + rng.uniform(-7, 7))
    spacing = protocol.spacing_mm
    corner: tuple[float, ...]
    if size < _WHOLE_CHEST_PX:
        side = size * spacing
        off = rng.uniform(-_OFF_CENTER, _OFF_CENTER, 2) * side
        corner = tuple(float(v) for v in place[:2] + off - side / 2)
    else:
        half = float(patient.half_axes(z_mm)[0]) + patient.fat_mm
        spacing = float(np.clip(2 * half * rng.uniform(1, 1.1) / size, 0.5, 0.976562))
        side = size * spacing
        corner = tuple(float(v) for v in rng.uniform(-5, 5, 2) - side / 2)
    nodules = [draw_nodule(place, kinds[0], rng)]
    for kind in kinds[1:]:
        margin = 2 * kind.radius_mm + 4  # a square of two diameters is in the image
        bounds = Bounds(
            (corner[0] + margin, corner[1] + margin, z_mm - _HALF_MM / 2),
            (
                corner[0] + side - margin,
                corner[1] + side - margin,
                z_mm + _HALF_MM / 2,
            ),
        )
        others = [(each.focus.center, each.kind.radius_mm) for each in nodules]
        place = find_place(
            kind, lungs, patient, protocol.enhancement, others, bounds, rng
        )
        if place is not None:
            nodules.append(draw_nodule(place, kind, rng))
    return _Layout(nodules, z_mm, (corner[0], corner[1]), spacing, lungs.back_at(z_mm))


def _paint_scan(
    patient: Patient,
    protocol: Protocol,
    layout: _Layout,
    size: int,
    rng: np.random.Generator,
) -> NoduleScan | None:
    """Paint a scan; None if a nodule is hidden or does not touch what it should."""
    interval, spacing = protocol.interval_mm, layout.spacing_mm
    half = round(_HALF_MM / interval)
    z = layout.z_mm + interval * np.arange(-half, half + 1)  # toward the feet
    left, top = layout.corner_mm
    x, y = left + spacing * np.arange(size), top + spacing * np.arange(size)
    hu = np.empty((z.size, size, size), np.float32)
    cover = np.zeros((len(layout.nodules), *hu.shape), np.float32)
    volumes = np.zeros((len(layout.nodules), 2))  # of the shape, and of its hidden part
    inside = (np.arange(protocol.parts) + 0.5) / protocol.parts - 0.5
    for first in range(0, z.size, 8):
        piece = z[first : first + 8]
        fine = (piece[:, None] + interval * inside).ravel()
        shape = (piece.size, protocol.parts, size, size)
        canvas = paint_anatomy(fine, y, x, patient, protocol.enhancement, True)
        paint_table(canvas, layout.back_mm + 6)
        for index, nodule in enumerate(layout.nodules):
            painted = paint_nodule(canvas, nodule, patient.lung_hu)
            if painted:
                box, own, whole = painted
                volumes[index] += (whole > 0.5).sum(), (whole * (own <= 0.5)).sum()
                full = np.zeros(canvas.hu.shape, np.float32)
                full[box] = own
                cover[index, first : first + 8] = full.reshape(shape).mean(1)
        hu[first : first + 8] = canvas.hu.reshape(shape).mean(1)
    masks = cover > 0.5
    for nodule, mask, (volume, hidden) in zip(layout.nodules, masks, volumes):
        # Vessels that a nodule encloses are a part of it.
        mask[:] = [binary_fill_holes(plane) if plane.any() else plane for plane in mask]
        attached = bool(nodule.kind.attached)
        seen = mask.sum() * interval * spacing**2
        expected = (0.25 if attached else 0.4) * 4.19 * nodule.kind.radius_mm**3
        # Nodules that are hidden or too small to be visible, or that do not touch.
        if seen < expected or attached and hidden < _TOUCHING * volume:
            return None
    finish(hu, replace(protocol, spacing_mm=spacing), rng)
    hu = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    return NoduleScan(
        np.ascontiguousarray(hu[::-1]),
        [mask[::-1] for mask in masks],
        layout.nodules,
        (interval, spacing, spacing),
        (round(left, 2), round(top, 2), round(-float(z[-1]), 2)),
    )
