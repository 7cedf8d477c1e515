"""Whole simulated CT scans as DICOM series with ground truth in 3-D."""

import csv
import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmlesion.ct import CTVolume, volume_to_image, write_volume
from mmlesion.ct.dicom import write_dicom_image
from mmlesion.files import write_json

from .body import Patient, Region
from .made_with import build_folder, simulate_missing
from .scan import Scan, simulate_scan

# Increased whenever a seed gives different scans, so that versions are not mixed.
SCANS_PHANTOM_VERSION = 1
#: Columns of ``truth.csv``. Positions in mm are DICOM patient coordinates. Indices i, j
#: and k are voxels of the series, with k increasing from the feet. Corners are the
#: outer edges of voxels.
TRUTH_COLUMNS = (
    'scan',
    'lesion',
    'region',
    'center_x_mm',
    'center_y_mm',
    'center_z_mm',
    'lower_i',
    'lower_j',
    'lower_k',
    'upper_i',
    'upper_j',
    'upper_k',
    'long_diameter_mm',
    'short_diameter_mm',
)
_CONTEXT_MM = 24.0  # extent of a section of the scan around its key slice


@dataclass
class WholeScan:
    """A simulated scan that consists of several sections.

    Attributes:
        volume: HU as int16, axial slices from the feet to the head.
        mask: 0, or 1 + index of the lesion.
        regions: Region of each lesion.
        diameters_mm: Long and short diameter of each lesion in its key slice.

    Shape:
        - mask: (D, H, W), as the volume.
    """

    volume: CTVolume
    mask: np.ndarray
    regions: list[Region]
    diameters_mm: list[tuple[float, float]]


def simulate_whole_scan(
    patient: Patient,
    rng: np.random.Generator,
    size: int = 256,
    length_mm: float = 200.0,
) -> WholeScan:
    """Simulate a scan from consecutive sections toward the feet.

    Each section has at least one lesion and look-alike vessels. The scan is shorter
    if no lesion fits into the next section.

    Args:
        patient: The patient.
        rng: Random number generator.
        size: Image width and height in pixels. Below 512, only a part of the body is
            reconstructed.
        length_mm: Target length along z.

    Raises:
        RuntimeError: If no lesion fits.
    """
    return _join_sections(simulate_sections(patient, rng, size, length_mm))


def simulate_sections(
    patient: Patient, rng: np.random.Generator, size: int, length_mm: float
) -> list[Scan]:
    """Simulate the sections of :func:`simulate_whole_scan`, from head to feet."""
    sections = [simulate_scan(patient, rng, size, _CONTEXT_MM)]
    while sum(len(each.hu) for each in sections) * sections[0].interval_mm < length_mm:
        try:
            following = simulate_scan(
                patient, rng, size, _CONTEXT_MM, follow=sections[-1]
            )
        except RuntimeError:
            break
        sections.append(following)
    return sections


def _join_sections(sections: list[Scan]) -> WholeScan:
    masks, regions, diameters = [], [], []
    first = sections[0]
    for each in sections:
        known = len(regions)
        masks.append(np.where(each.mask > 0, each.mask + np.uint8(known), 0))
        regions += [Region(focus.region) for focus in each.lesions]
        diameters += [
            (found.long_px * each.spacing_mm, found.short_px * each.spacing_mm)
            for found in each.diameters
        ]
    hu = np.concatenate([each.hu for each in sections])
    # z increases toward the feet in the simulation and toward the head in DICOM.
    top_mm = first.layout.z_mm - first.key * first.interval_mm
    bottom_mm = top_mm + (len(hu) - 1) * first.interval_mm
    x, y = first.origin_mm
    volume = CTVolume(
        np.ascontiguousarray(hu[::-1]),
        (first.interval_mm, first.spacing_mm, first.spacing_mm),
        (round(x, 2), round(y, 2), round(-bottom_mm, 2)),
    )
    mask = np.ascontiguousarray(np.concatenate(masks)[::-1].astype(np.uint8))
    return WholeScan(volume, mask, regions, diameters)


def write_scans(
    out_dir: str | Path,
    num_scans: int = 3,
    size: int = 256,
    seed: int = 0,
    workers: int = 1,
    length_mm: float = 200.0,
) -> Path:
    """Simulate whole scans of separate patients and write them as DICOM.

    The output contains ``scan_0001/*.dcm`` and so on (one series for each patient),
    ``truth.csv`` with the lesions (see :data:`TRUTH_COLUMNS`),
    ``masks/scan_0001.nii.gz`` (0, or 1 + the index of the lesion in the csv file),
    ``lesions.csv`` with the scans and their masks (the table of ``mmlesion
    prepare scans``), ``scans.txt`` (the names of the scans, a list for ``mmlesion
    detect``) and ``phantom.json`` (the settings).

    A scan depends only on ``seed`` and the number of the scan. Everything is written to
    ``<out_dir>.partial``, which is renamed at the end. An interrupted run resumes
    where it stopped.

    Args:
        out_dir: Output folder.
        num_scans: Number of scans.
        size: Width and height in pixels.
        seed: Random seed.
        workers: Number of processes.
        length_mm: Length of a scan along z.

    Returns:
        The output folder.

    Raises:
        ValueError: If an argument is out of range.
        FileExistsError: If ``out_dir`` contains anything else.
    """
    if not 1 <= num_scans <= 9999:
        raise ValueError(f'num_scans must be 1 to 9999, got {num_scans}')
    if not 96 <= size <= 512:
        raise ValueError(f'size must be 96 to 512 pixels, got {size}')
    if not 40 <= length_mm <= 600:
        raise ValueError(f'length_mm must be 40 to 600, got {length_mm}')
    if seed < 0 or workers < 1:
        raise ValueError(
            f'seed must be 0 or more and workers 1 or more, got {seed} and {workers}'
        )
    out_dir = Path(out_dir)
    settings = dict(
        version=SCANS_PHANTOM_VERSION,
        layout='scans',
        num_scans=int(num_scans),
        size=int(size),
        seed=int(seed),
        length_mm=float(length_mm),
    )
    with build_folder(out_dir, settings) as partial:
        if partial is not None:
            _build(partial, out_dir, settings, workers)
    return out_dir


def _build(partial: Path, out_dir: Path, settings: dict, workers: int) -> None:
    """Simulate the missing scans, then write the table."""
    names = [f'{number:04d}' for number in range(1, settings['num_scans'] + 1)]
    jobs = {name: (str(partial), settings, int(name)) for name in names}
    rows = simulate_missing(_write_scan, jobs, partial, out_dir, workers, 'scan')
    with open(partial / 'truth.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, TRUTH_COLUMNS, lineterminator='\n')
        writer.writeheader()
        writer.writerows(itertools.chain(*rows))
    with open(partial / 'lesions.csv', 'w', newline='') as file:
        table = csv.writer(file, lineterminator='\n')
        table.writerow(('scan', 'mask', 'patient'))
        for name in names:
            table.writerow((f'scan_{name}', f'masks/scan_{name}.nii.gz', name))
    lines = [f'scan_{name}\n' for name in names]
    (partial / 'scans.txt').write_text(''.join(lines))


def _write_scan(job: tuple) -> None:
    root, settings, number = Path(job[0]), job[1], job[2]
    # Random streams that no other phantom uses, so that the patients are different.
    rng = np.random.default_rng([settings['seed'], 77, number])
    scan = simulate_whole_scan(
        Patient(rng), rng, settings['size'], settings['length_mm']
    )
    name = f'scan_{number:04d}'
    folder = root / name
    if folder.exists():  # incomplete, from an interrupted run
        shutil.rmtree(folder)

    def new_uid() -> str:
        return f'2.25.{int.from_bytes(rng.bytes(16), "big")}'

    image = volume_to_image(scan.volume)
    write_dicom_image(str(folder), image, f'PHANTOM-{number:04d}', new_uid)
    (root / 'masks').mkdir(exist_ok=True)
    volume = scan.volume
    mask = CTVolume(scan.mask, volume.spacing_mm, volume.origin, volume.direction)
    write_volume(root / 'masks' / f'{name}.nii.gz', mask)
    rows = [_truth(name, index, scan) for index in range(len(scan.regions))]
    write_json(root / 'rows' / f'{number:04d}.json', rows)


def _truth(name: str, index: int, scan: WholeScan) -> dict:
    places = np.argwhere(scan.mask == index + 1)
    lower, upper = places.min(0) - 0.5, places.max(0) + 0.5
    x, y, z = scan.volume.index_to_world((lower + upper) / 2)
    row = dict(scan=name, lesion=index, region=scan.regions[index].name.lower())
    row |= {
        f'center_{axis}_mm': round(float(v), 3) for axis, v in zip('xyz', (x, y, z))
    }
    row |= {f'lower_{axis}': float(v) for axis, v in zip('kji', lower)}
    row |= {f'upper_{axis}': float(v) for axis, v in zip('kji', upper)}
    long_mm, short_mm = scan.diameters_mm[index]
    row['long_diameter_mm'] = round(long_mm, 3)
    row['short_diameter_mm'] = round(short_mm, 3)
    return row
