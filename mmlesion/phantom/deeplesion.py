"""Simulated data set in the layout of DeepLesion."""

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from mmlesion.ct.deeplesion_columns import DL_INFO_COLUMNS
from mmlesion.ct.png import write_image
from mmlesion.files import write_json

from .body import Patient, Region
from .made_with import build_folder, simulate_missing
from .noise import add_section_noise
from .scan import Scan, simulate_scan

HU_OFFSET = 32768
# Increased whenever a seed gives different images, so that versions are not mixed.
PHANTOM_VERSION = 4
_SPLITS = ((1, 'train'), (2, 'val'), (3, 'test'))


def write_deeplesion(
    out_dir: str | Path,
    num_train: int,
    num_val: int,
    num_test: int,
    size: int = 512,
    seed: int = 0,
    workers: int = 1,
    context_mm: float = 20.0,
    num_vessels: tuple[int, int] = (3, 6),
    noisy_context: float = 0.0,
) -> Path:
    """Simulate CT key slices and write them in the layout of DeepLesion.

    The output contains ``DL_info.csv`` (18 columns, 1-based boxes) and
    ``Images_png/PPPPPP_SS_RR/NNN.png`` (16 bit, HU + 32768; the key slice and its
    neighbors, some of them missing). In addition to DeepLesion, it contains
    ``masks/PPPPPP_SS_RR/NNN.png`` (8 bit, 0 or 1 + the index of the lesion among the
    rows of its key slice; slices without a lesion have no mask file) and
    ``phantom.json`` (the settings). As in the original, lesions of the training split
    have type -1.

    The images of a patient depend only on ``seed``, the split and the index of the
    patient in the split. They do not depend on the number of processes or of other
    patients. Everything is written to ``<out_dir>.partial``, which is renamed at the
    end. An interrupted run resumes where it stopped.

    Args:
        out_dir: Output folder.
        num_train: Number of key slices of the training split.
        num_val: Number of key slices of the validation split.
        num_test: Number of key slices of the test split.
        size: Width and height in pixels. Below 512, only a part of the body is
            reconstructed.
        seed: Random seed.
        workers: Number of processes.
        context_mm: Extent of the neighboring slices on both sides of the key slice: 15
            slices at 2 mm need 14.
        num_vessels: Minimum and maximum number of look-alike vessels per key slice.
        noisy_context: Probability that a section of 6 mm of the neighboring slices is
            too noisy to be useful. The useful neighbors then differ between key slices.

    Returns:
        The output folder.

    Raises:
        ValueError: If an argument is out of range.
        FileExistsError: If ``out_dir`` contains anything else.
    """
    out_dir = Path(out_dir)
    settings: dict[str, Any] = dict(
        version=PHANTOM_VERSION,
        num_train=int(num_train),
        num_val=int(num_val),
        num_test=int(num_test),
        size=int(size),
        seed=int(seed),
        context_mm=float(context_mm),
        num_vessels=[int(n) for n in num_vessels],
    )
    if noisy_context:
        settings['noisy_context'] = float(noisy_context)
    _check(settings, workers)
    with build_folder(out_dir, settings) as partial:
        if partial is not None:
            _build(partial, out_dir, settings, workers)
    return out_dir


def _build(partial: Path, out_dir: Path, settings: dict, workers: int) -> None:
    """Simulate the missing patients, then write the tables."""
    plan = _plan(settings)
    jobs = {f'{job[0]:06d}': (str(partial), settings, *job) for job in plan}
    rows = simulate_missing(
        _write_patient,
        jobs,
        partial,
        out_dir,
        workers,
        'key slice',
        [count for *_, count in plan],
    )
    with open(partial / 'DL_info.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, DL_INFO_COLUMNS, lineterminator='\n')
        writer.writeheader()
        writer.writerows(itertools.chain(*rows))


def _check(settings: dict, workers: int) -> None:
    for key in ('num_train', 'num_val', 'num_test', 'seed'):
        if settings[key] < 0:
            raise ValueError(f'{key} must be 0 or more, got {settings[key]}')
    if settings['num_train'] + settings['num_val'] + settings['num_test'] == 0:
        raise ValueError(
            'nothing to simulate: the numbers of training, validation and '
            'test key slices are all 0'
        )
    if not 96 <= settings['size'] <= 1024:
        raise ValueError(f'size must be 96 to 1024 pixels, got {settings["size"]}')
    if not 0 <= settings['context_mm'] <= 100:
        raise ValueError(f'context_mm must be 0 to 100, got {settings["context_mm"]}')
    low, high = settings['num_vessels']
    if not 0 <= low <= high:
        raise ValueError(
            f'num_vessels must be a minimum and a maximum, got {low} and {high}'
        )
    if not 0 <= settings.get('noisy_context', 0) <= 1:
        raise ValueError(
            f'noisy_context must be 0 to 1, got {settings["noisy_context"]}'
        )
    if workers < 1:
        raise ValueError(f'workers must be 1 or more, got {workers}')


def _plan(settings: dict) -> list[tuple]:
    """Return (number, split, index in the split, key slices) of all patients."""
    jobs = []
    for split, name in _SPLITS:
        rng = np.random.default_rng([settings['seed'], split])
        left, place = settings[f'num_{name}'], 0
        while left > 0:
            count = min(left, int(rng.choice((1, 2, 3, 4), p=(0.35, 0.35, 0.2, 0.1))))
            jobs.append((split, place, count))
            left -= count
            place += 1
    return [(number, *job) for number, job in enumerate(jobs, start=1)]


def _write_patient(job: tuple) -> None:
    root, settings, number, split, place, count = job
    seeds = np.random.SeedSequence([settings['seed'], split, place]).spawn(count + 1)
    rng = np.random.default_rng(seeds[0])
    patient = Patient(rng)
    rows, study, series, age = [], 1, 0, patient.age
    scan, key_number = None, 0
    for n in range(count):
        scan_rng = np.random.default_rng(seeds[n + 1])
        arguments = (patient, scan_rng, settings['size'], settings['context_mm'])
        vessels = settings['num_vessels']
        # The next key slice is in the same series, in another series or in a later
        # study.
        lot, following = rng.random(), None
        if n and lot < 0.25:
            try:
                following = simulate_scan(*arguments, num_vessels=vessels, follow=scan)
            except RuntimeError:  # only lung apex or air below the current position
                lot = 0.5
        if following is not None:
            assert scan is not None  # `following` is a later slice of the same scan
            key_number += len(scan.hu) - scan.key + following.key
            scan = following
        else:
            if n and lot < 0.7:
                study, series, age = study + 1, 1, age + int(rng.random() < 0.3)
            else:
                series += 1
            scan = simulate_scan(*arguments, num_vessels=vessels)
            above = max(0.0, scan.layout.z_mm + 100 * patient.scale_z)
            key_number = scan.key + 1 + int(above / scan.interval_mm)
        _add_noise(scan, settings.get('noisy_context', 0), seeds[n + 1])
        rows += _write_scan(
            Path(root),
            scan,
            key_number,
            patient,
            scan_rng,
            (number, study, series),
            split,
            age,
        )
    write_json(Path(root) / 'rows' / f'{number:06d}.json', rows)


def _add_noise(scan: Scan, probability: float, seed: np.random.SeedSequence) -> None:
    """Add noise to the neighboring slices; other random numbers do not change."""
    spacing = (scan.interval_mm, scan.spacing_mm)
    rng = np.random.default_rng(seed.spawn(1)[0])
    add_section_noise(scan.hu, scan.key, spacing, probability, rng)


def _write_scan(
    root: Path,
    scan: Scan,
    key_number: int,
    patient: Patient,
    rng: np.random.Generator,
    name: tuple[int, int, int],
    split: int,
    age: int,
) -> list[dict]:
    series = '{:06d}_{:02d}_{:02d}'.format(*name)
    images, masks = root / 'Images_png' / series, root / 'masks' / series
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    depth = len(scan.hu)
    first = key_number - scan.key
    missing = _missing_slices(scan, rng)
    for n in range(depth):
        if n in missing:
            continue
        pixels = (scan.hu[n].astype(np.int32) + HU_OFFSET).astype(np.uint16)
        write_image(images / f'{first + n:03d}.png', pixels, 1)
        if scan.mask[n].any():
            write_image(masks / f'{first + n:03d}.png', scan.mask[n], 1)
    shared = {
        'File_name': f'{series}_{key_number:03d}.png',
        'Patient_index': name[0],
        'Study_index': name[1],
        'Series_ID': name[2],
        'Key_slice_index': key_number,
        'Possibly_noisy': 0,
        'Slice_range': f'{first}, {first + depth - 1}',
        'Spacing_mm_px_': _numbers(
            (scan.spacing_mm, scan.spacing_mm, scan.interval_mm)
        ),
        'Image_size': '{}, {}'.format(*scan.hu.shape[:0:-1]),
        'Patient_gender': patient.sex,
        'Patient_age': age,
        'Train_Val_Test': split,
    }
    rows = []
    for focus, drawn, location in zip(scan.lesions, scan.diameters, scan.location):
        in_lung = focus.region == Region.LUNG
        rows.append(
            {
                **shared,
                # Pixels are counted from 1, as in the published file.
                'Measurement_coordinates': _numbers(drawn.ends.ravel() + 1),
                'Bounding_boxes': _numbers(drawn.bbox + 1),
                'Lesion_diameters_Pixel_': _numbers((drawn.long_px, drawn.short_px)),
                'Normalized_lesion_location': _numbers(location),
                'Coarse_lesion_type': -1 if split == 1 else focus.region,
                'DICOM_windows': '-1500, 500' if in_lung else '-175, 275',
            }
        )
    if rng.random() < 0.006:
        rows.append(_noisy_row(rows[0], scan, rng))
    return [{column: row[column] for column in DL_INFO_COLUMNS} for row in rows]


def _missing_slices(scan: Scan, rng: np.random.Generator) -> set[int]:
    """Draw slices that are not written, as gaps and short scans of the data set."""
    depth = len(scan.hu)
    missing = set()
    if rng.random() < 0.15 and depth > 4:
        missing = set(rng.choice(depth, int(rng.integers(1, 4)), replace=False))
    if rng.random() < 0.05:  # the scan ends near the key slice
        end = int(rng.integers(1, scan.key + 1)) if scan.key else 0
        missing |= (
            set(range(end)) if rng.random() < 0.5 else set(range(depth - end, depth))
        )
    missing.discard(scan.key)
    return missing


def _noisy_row(row: dict, scan: Scan, rng: np.random.Generator) -> dict:
    """Return a row with an annotation error that is flagged as noisy."""
    side = scan.hu.shape[-1]
    x, y = rng.uniform(0.2, 0.7, 2) * side
    length = 0.08 * side
    ends = (
        x,
        y,
        x + length,
        y,
        x + length / 2,
        y - length / 3,
        x + length / 2,
        y + length / 3,
    )
    return {
        **row,
        'Possibly_noisy': 1,
        'Measurement_coordinates': _numbers(ends),
        'Bounding_boxes': _numbers(
            (x - 5, y - length / 3 - 5, x + length + 5, y + length / 3 + 5)
        ),
        'Lesion_diameters_Pixel_': _numbers((length, 2 * length / 3)),
    }


def _numbers(values) -> str:
    """Return numbers with six significant digits, separated as in DL_info.csv."""
    return ', '.join(f'{float(v):.6g}' for v in values)
