"""Simulated data set of chest CT with signs of aspergillosis and a list of scans."""

import csv
from pathlib import Path

import numpy as np

from mmlesion.ct import CTVolume, write_volume
from mmlesion.ct.projections import REGIONS
from mmlesion.files import write_json

from .body import Patient
from .made_with import build_folder, simulate_missing
from .pathology import SIGNS
from .sign_course import draw_course
from .sign_scan import SignScan, simulate_sign_scan

# Increased whenever a seed gives different images, so that versions are not mixed.
SIGNS_PHANTOM_VERSION = 5
_COLUMNS = (
    'scan',
    'patient',
    'disease',
    'survival',
    *(f'{region}_{sign}' for region in REGIONS for sign in SIGNS),
)
_PATIENT_COLUMNS = ('patient', 'severity', 'died', 'end_years')
_TRUTH_COLUMNS = ('scan', 'sign', 'region', 'x_mm', 'y_mm', 'z_mm', 'volume_mm3')


def write_signs(
    out_dir: str | Path,
    num_patients: int = 24,
    num_controls: int = 16,
    size: int = 128,
    seed: int = 0,
    workers: int = 1,
    max_visits: int = 8,
) -> Path:
    """Simulate CT of whole chests with signs of aspergillosis, and a list of scans.

    The output contains ``scans.csv``, the table from which
    :class:`mmlesion.LungProjectionDataset` is prepared (``scan``, ``patient``,
    ``disease``, ``survival``, and 0 or 1 for each sign in each lung region), and
    ``scans/*.nii.gz``. In addition to real data, it contains
    ``masks/<scan>_<sign>.nii.gz`` (ground truth of the signs that are present),
    ``masks/<scan>_lung.nii.gz`` (the lungs with all lesions, without effusions),
    ``truth.csv`` (one row for each sign and each mimic with world position and volume,
    and for each other disease), ``patients.csv`` (severity and death of each patient)
    and ``phantom.json`` (the settings).

    Patients have 1 to ``max_visits`` scans over several years, in which signs appear
    and grow. Controls have one scan without signs. Patients and controls have other
    diseases (:data:`mmlesion.phantom.pathology.BACKGROUNDS`) and mimics
    (:data:`mmlesion.phantom.MIMICS`) equally often, and these have no label.

    The severity of a patient, 0 to 1, determines the number and size of the signs and
    the probability of death, ``1 / (1 + exp(-16 (severity - 0.5)))``. ``survival`` is 1
    in the last two years before death, 0 more than two years before the last contact of
    a survivor, and otherwise empty.

    A patient depends only on ``seed`` and the number of the patient. Everything is
    written to ``<out_dir>.partial``, which is renamed at the end. An interrupted run
    resumes where it stopped.

    Args:
        out_dir: Output folder.
        num_patients: Number of patients with the disease.
        num_controls: Number of patients without the disease.
        size: Width and height of a scan in pixels, with ``27 / 32 * size`` slices.
        seed: Random seed.
        workers: Number of processes.
        max_visits: Maximum number of scans per patient. Smaller values give more
            patients for the same number of scans.

    Returns:
        The output folder.

    Raises:
        ValueError: If an argument is out of range.
        FileExistsError: If ``out_dir`` contains anything else.
    """
    out_dir = Path(out_dir)
    settings = dict(
        layout='signs',
        version=SIGNS_PHANTOM_VERSION,
        num_patients=int(num_patients),
        num_controls=int(num_controls),
        size=int(size),
        seed=int(seed),
        max_visits=int(max_visits),
    )
    _check(settings, workers)
    with build_folder(out_dir, settings, ('scans', 'masks')) as partial:
        if partial is not None:
            _build(partial, out_dir, settings, workers)
    return out_dir


def _build(partial: Path, out_dir: Path, settings: dict, workers: int) -> None:
    """Simulate the missing patients, then write the tables."""
    names = [f'P{n:04d}' for n in range(1, settings['num_patients'] + 1)]
    names += [f'C{n:04d}' for n in range(1, settings['num_controls'] + 1)]
    jobs = {name: (str(partial), settings, name) for name in names}
    parts = simulate_missing(_write_patient, jobs, partial, out_dir, workers, 'patient')
    rows = [row for part in parts for row in part['rows']]
    truth = [row for part in parts for row in part['truth']]
    _write_csv(partial / 'scans.csv', _COLUMNS, rows)
    _write_csv(partial / 'truth.csv', _TRUTH_COLUMNS, truth)
    patients = [part['patient'] for part in parts if part['patient']]
    _write_csv(partial / 'patients.csv', _PATIENT_COLUMNS, patients)


def _check(settings: dict, workers: int) -> None:
    for key in ('num_patients', 'num_controls', 'seed'):
        if settings[key] < 0:
            raise ValueError(f'{key} must be 0 or more, got {settings[key]}')
    if settings['num_patients'] + settings['num_controls'] == 0:
        raise ValueError(
            'nothing to simulate: the numbers of patients and of controls are both 0'
        )
    if not 64 <= settings['size'] <= 512:
        raise ValueError(f'size must be 64 to 512 pixels, got {settings["size"]}')
    if workers < 1 or settings['max_visits'] < 1:
        raise ValueError(
            'workers and max_visits must be 1 or more, got '
            f'{workers} and {settings["max_visits"]}'
        )


def _write_csv(path: Path, columns: tuple, rows: list[dict]) -> None:
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, columns, lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


def _write_patient(job: tuple) -> None:
    root, settings, name = Path(job[0]), job[1], job[2]
    diseased = name[0] == 'P'
    rng = np.random.default_rng([settings['seed'], 4, diseased, int(name[1:])])
    course = draw_course(Patient(rng), rng, diseased, settings['max_visits'])
    rows, truth = [], []
    for visit in range(len(course.years)):
        scan = simulate_sign_scan(course, visit, rng, settings['size'])
        stem = f'{name}_{visit + 1}'
        _write_scan(root, stem, scan)
        file, survival = f'scans/{stem}.nii.gz', course.survival(visit)
        rows.append(
            {
                'scan': file,
                'patient': name,
                'disease': int(diseased),
                'survival': '' if survival is None else survival,
                **{
                    f'{region}_{sign}': int(region in scan.regions[sign])
                    for region in REGIONS
                    for sign in SIGNS
                },
            }
        )
        truth += [_truth_row(file, scan, one) for one in scan.truth]
    patient = diseased and dict(
        patient=name,
        severity=round(course.severity, 4),
        died=int(course.died),
        end_years=round(course.end_years, 2),
    )
    write_json(
        root / 'rows' / f'{name}.json', dict(rows=rows, truth=truth, patient=patient)
    )


def _write_scan(root: Path, stem: str, scan: SignScan) -> None:
    files = {f'scans/{stem}': scan.hu, f'masks/{stem}_lung': scan.lung}
    files.update((f'masks/{stem}_{sign}', mask) for sign, mask in scan.masks.items())
    for name, array in files.items():
        write_volume(
            root / f'{name}.nii.gz', CTVolume(array, scan.spacing_mm, scan.origin)
        )


def _truth_row(file: str, scan: SignScan, one: dict) -> dict:
    row = dict(scan=file, sign=one['sign'], region=one['region'])
    if one['place'] is not None:
        world = np.multiply(one['place'], scan.spacing_mm)[::-1] + scan.origin
        row.update(zip(('x_mm', 'y_mm', 'z_mm'), np.round(world, 2).tolist()))
        row['volume_mm3'] = round(one['volume_mm3'], 1)
    return row
