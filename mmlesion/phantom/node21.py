"""Simulated chest radiographs in NODE21's own layout."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mmlesion.ct import write_radiograph
from mmlesion.files import run_in_parallel, write_json

from .body import Enhancement, Patient, Region
from .made_with import build_folder
from .scan import paint_anatomy

# Raised whenever the same seed gives other pictures: data sets do not mix silently.
RADIOGRAPH_VERSION = 1
COLUMNS = ('img_name', 'x', 'y', 'width', 'height', 'label', 'patient')
# Water at about 70 keV, 1/cm; what a radiograph shows is its path integral.
WATER_PER_CM = 0.19
FIELD_MM = 350.0
DIAMETERS_MM = (6.0, 30.0)  # of NODE21's nodules
SOLID_HU = (0.0, 90.0)  # soft tissue
_SLICES_AT_ONCE = 48


@dataclass
class Thorax:
    """A patient seen from the front, as parallel rays see him.

    Attributes:
        water_cm: Water with the same attenuation along each ray.
        lung: Where lung is, in space.
        z_mm, y_mm, x_mm: Patient coordinates of the grid.

    Shape:
        - water_cm: (D, W) = (z, x); lung: (D, H, W) = (z, y, x)
    """

    water_cm: np.ndarray
    lung: np.ndarray
    z_mm: np.ndarray
    y_mm: np.ndarray
    x_mm: np.ndarray


def project_thorax(patient: Patient, grid_mm: float = 2.0) -> Thorax:
    """Paint a whole thorax on a coarse grid and integrate it from front to back.

    Args:
        patient: The patient.
        grid_mm: Spacing along x and z; along the rays it is twice that.
    """
    z_mm = np.arange(-75, 335, grid_mm)
    y_mm = np.arange(-155, 155, 2 * grid_mm)
    x_mm = np.arange(-205, 205, grid_mm)
    water_cm = np.empty((z_mm.size, x_mm.size), np.float32)
    lung = np.empty((z_mm.size, y_mm.size, x_mm.size), bool)
    for first in range(0, z_mm.size, _SLICES_AT_ONCE):
        part = slice(first, first + _SLICES_AT_ONCE)
        canvas = paint_anatomy(
            z_mm[part], y_mm, x_mm, patient, Enhancement(0.0), with_labels=True
        )
        density = np.maximum(canvas.hu, -1000) / 1000 + 1
        water_cm[part] = density.sum(1) * (2 * grid_mm / 10)
        lung[part] = (canvas.labels == Region.LUNG) & (canvas.hu < -700)
    return Thorax(water_cm, lung, z_mm, y_mm, x_mm)


def simulate_radiograph(
    thorax: Thorax,
    lung_hu: float,
    num_nodules: int,
    rng: np.random.Generator,
    size: int = 1024,
    diameters_mm: tuple[float, float] = DIAMETERS_MM,
    solid_hu: tuple[float, float] = SOLID_HU,
) -> tuple[np.ndarray, list]:
    """Simulate a radiograph of a thorax with its own position, dose and nodules.

    Args:
        thorax: From :func:`project_thorax`.
        lung_hu: HU of the lung that a nodule replaces.
        num_nodules: Number of nodules, anywhere in the lungs.
        rng: Random number generator of the radiograph.
        size: Side in pixels.
        diameters_mm: Smallest and largest diameter of the nodules; as many between 6
            and 12 as between 12 and 24.
        solid_hu: Smallest and largest density of solid nodules in HU.

    Returns:
        12-bit gray values (size, size), uint16, bright at high absorption, and the
        boxes ``(x, y, width, height)`` of the nodules in pixels.

    Raises:
        RuntimeError: If there is no room for a nodule.
    """
    pixel_mm = FIELD_MM * rng.uniform(0.92, 1.06) / size
    angle = np.deg2rad(rng.normal(0, 1.2))
    middle = np.array((rng.normal(0, 6), 120 + rng.normal(0, 8)))
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array(((cosine, -sine), (sine, cosine)))  # pixels to mm, (x, z)
    step = thorax.x_mm[1] - thorax.x_mm[0]
    origin = np.array((thorax.x_mm[0], thorax.z_mm[0]))
    # Index in the grid of each pixel's middle.
    linear = turn * (pixel_mm / step)
    start = (middle - origin) / step - linear @ np.full(2, (size - 1) / 2)
    water_cm = cv2.warpAffine(
        thorax.water_cm,
        np.c_[linear, start],
        (size, size),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    added = np.zeros((size, size), np.float32)
    boxes = []
    for _ in range(20_000 * num_nodules):
        if len(boxes) == num_nodules:
            break
        found = _nodule(
            thorax, lung_hu, rng, size, pixel_mm, turn, middle, diameters_mm, solid_hu
        )
        if found is not None:
            box, thickness_cm = found
            x, y, width, height = box
            added[y : y + height, x : x + width] += thickness_cm
            boxes.append(box)
    else:
        if num_nodules:
            raise RuntimeError('no nodule found room in the lungs')
    # Blurred like the anatomy, so that sharpness does not reveal the nodules.
    added = cv2.GaussianBlur(added, (0, 0), 0.45 * step / pixel_mm)
    absorbed = WATER_PER_CM * np.maximum(water_cm + added, 0)
    # Few quanta pass the abdomen: their noise rises with what was absorbed.
    noise = rng.standard_normal((size, size), dtype=np.float32) / np.float32(pixel_mm)
    absorbed += np.float32(rng.uniform(0.001, 0.004)) * noise * np.exp(absorbed / 2 - 1)
    # What devices do, so that lungs and abdomen fit into one range of gray.
    absorbed -= rng.uniform(0.45, 0.65) * _blurred(absorbed, 25 / pixel_mm)
    low, high = np.percentile(absorbed[::4, ::4], (1, 99.7))
    gray = np.clip((absorbed - low) / (high - low), 0, 1) ** rng.uniform(0.85, 1.2)
    return np.rint(4095 * gray).astype(np.uint16), boxes


def _blurred(picture, sigma_px):
    """Wide Gaussian, at an eighth of the resolution."""
    small = cv2.resize(picture, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(
        small, (0, 0), sigma_px / 8, borderType=cv2.BORDER_REPLICATE
    )
    return cv2.resize(small, picture.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _nodule(thorax, lung_hu, rng, size, pixel_mm, turn, middle, diameters_mm, solid_hu):
    """Box and water (cm) that a nodule adds; None where there is no room."""
    radius = np.exp(rng.uniform(*np.log(np.divide(diameters_mm, 2))))
    place = (
        rng.integers(len(thorax.z_mm)),
        rng.integers(len(thorax.y_mm)),
        rng.integers(len(thorax.x_mm)),
    )
    grid = thorax.x_mm[1] - thorax.x_mm[0]
    for axis, spacing in enumerate((grid, 2 * grid, grid)):
        for side in (-0.7, 0.7):
            near = list(place)
            near[axis] += int(round(side * radius / spacing))
            if not 0 <= near[axis] < thorax.lung.shape[axis]:
                return None
            if not thorax.lung[tuple(near)]:
                return None
    center_mm = np.array((thorax.x_mm[place[2]], thorax.z_mm[place[0]]))
    center = turn.T @ (center_mm - middle) / pixel_mm + size / 2
    reach = int(np.ceil(1.35 * radius / pixel_mm)) + 1
    corner = np.floor(center).astype(int) - reach
    if (corner < 0).any() or (corner + 2 * reach + 1 >= size).any():
        return None
    x, y = np.meshgrid(
        *(
            corner[axis] + 0.5 + np.arange(2 * reach + 1) - center[axis]
            for axis in (0, 1)
        )
    )
    theta = np.arctan2(y, x)
    outline = 1.0
    for order in (2, 3, 4, 5):
        outline = outline + rng.uniform(0, 0.16 / order) * np.cos(
            order * theta + rng.uniform(0, 6.28)
        )
    inside = 1 - np.square(np.hypot(x, y) * pixel_mm / (radius * outline))
    inside = np.maximum(inside, 0)
    # One in six is not solid.
    hu = rng.uniform(-550, -250) if rng.random() < 1 / 6 else rng.uniform(*solid_hu)
    depth_cm = 2 * radius / 10 * rng.uniform(0.8, 1.1)
    thickness_cm = depth_cm * np.sqrt(inside) * (hu - lung_hu) / 1000
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    cut = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = (
        int(corner[0] + columns[0]),
        int(corner[1] + rows[0]),
        len(range(*cut[1].indices(size))),
        len(range(*cut[0].indices(size))),
    )
    return box, thickness_cm[cut].astype(np.float32)


def write_node21(
    out_dir: str | Path,
    num_with: int,
    num_without: int,
    size: int = 1024,
    seed: int = 0,
    workers: int = 1,
    pictures_per_patient: int = 4,
    grid_mm: float = 2.0,
    diameters_mm: tuple[float, float] = DIAMETERS_MM,
    solid_hu: tuple[float, float] = SOLID_HU,
) -> Path:
    """Simulate chest radiographs and write them as NODE21 is published.

    Written are ``metadata.csv`` (a row for each nodule's box, one with ``label`` 0
    for each picture without), ``images/nNNNN.mha`` (with nodules) and ``cNNNN.mha``
    (without), 12 bits. Not part of NODE21 are the csv's last column, ``patient``,
    without which pictures of one patient could be torn apart by a split, and
    ``phantom.json`` (what it was made with).

    A patient's anatomy is projected once, which is what takes the time, and shown in
    several pictures, each with its own position, dose and nodules. Everything is
    written to ``<out_dir>.partial`` first, which is renamed at the end; a broken run
    is taken up where it stopped. The number of processes changes nothing.

    Args:
        out_dir: Folder to make.
        num_with: Pictures with nodules, of which three quarters have one.
        num_without: Pictures without.
        size: Width and height in pixels, 1024 in NODE21.
        seed: Everything random follows from it.
        workers: Number of processes.
        pictures_per_patient: Pictures that share an anatomy.
        grid_mm: Spacing of the grid on which the anatomy is painted.
        diameters_mm: Least and greatest diameter of a nodule, 6 to 30 in NODE21.
        solid_hu: Least and greatest density of a solid nodule (five in six are);
            calcified ones have 200 to 1000.

    Returns:
        The folder written.

    Raises:
        ValueError: A number makes no sense.
        FileExistsError: ``out_dir`` holds something else.
    """
    out_dir = Path(out_dir)
    settings = dict(
        layout='node21',
        version=RADIOGRAPH_VERSION,
        num_with=int(num_with),
        num_without=int(num_without),
        size=int(size),
        seed=int(seed),
        pictures_per_patient=int(pictures_per_patient),
        grid_mm=float(grid_mm),
        diameters_mm=[float(each) for each in diameters_mm],
        solid_hu=[float(each) for each in solid_hu],
    )
    _check(settings, workers)
    with build_folder(out_dir, settings, ('images',)) as partial:
        if partial is not None:
            _build(partial, out_dir, settings, workers)
    return out_dir


def _build(partial: Path, out_dir: Path, settings: dict, workers: int) -> None:
    """Simulate what is missing, then write the tables."""
    jobs = _plan(settings)
    done = {path.stem for path in (partial / 'rows').glob('*.json')}
    todo = [
        (str(partial), settings, *job) for job in jobs if f'{job[0]:05d}' not in done
    ]
    total = settings['num_with'] + settings['num_without']
    with tqdm(
        total=total,
        initial=total - sum(len(job[3]) for job in todo),
        desc=f'Simulating {out_dir}',
        unit='radiograph',
    ) as bar:
        for _, count in run_in_parallel(
            _write_patient,
            [(job,) for job in todo],
            workers,
            unit='patients',
            raise_errors=True,
        ):
            bar.update(count)
    rows = []
    for number, _ in jobs:
        rows += json.loads((partial / 'rows' / f'{number:05d}.json').read_text())
    with open(partial / 'metadata.csv', 'w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(COLUMNS)
        writer.writerows(sorted(rows))


def _check(settings: dict, workers: int) -> None:
    for key in ('num_with', 'num_without', 'seed'):
        if settings[key] < 0:
            raise ValueError(f'{key} must be 0 or more, got {settings[key]}')
    if settings['num_with'] + settings['num_without'] == 0:
        raise ValueError(
            'nothing to simulate: the numbers of pictures with and '
            'without nodules are both 0'
        )
    if not 128 <= settings['size'] <= 2048:
        raise ValueError(f'size must be 128 to 2048 pixels, got {settings["size"]}')
    if settings['pictures_per_patient'] < 1 or workers < 1:
        raise ValueError(
            'pictures_per_patient and workers must be 1 or more, got '
            f'{settings["pictures_per_patient"]} and {workers}'
        )
    least, *greatest = settings['diameters_mm']
    if len(greatest) != 1 or not 3 <= least <= greatest[0] <= 40:
        raise ValueError(
            'diameters_mm must be the least and the greatest, of 3 to 40 '
            f'mm, got {settings["diameters_mm"]}'
        )
    least, *greatest = settings['solid_hu']
    if len(greatest) != 1 or not -500 <= least <= greatest[0] <= 2000:
        raise ValueError(
            'solid_hu must be the least and the greatest, of -500 to 2000 '
            f'HU, got {settings["solid_hu"]}'
        )
    if not 1 <= settings['grid_mm'] <= 8:
        raise ValueError(f'grid_mm must be 1 to 8, got {settings["grid_mm"]}')


def _plan(settings: dict) -> list[tuple]:
    """(patient number, names of his pictures) of each patient."""
    names = [f'n{n:04d}' for n in range(1, settings['num_with'] + 1)]
    names += [f'c{n:04d}' for n in range(1, settings['num_without'] + 1)]
    order = np.random.default_rng([settings['seed'], 21]).permutation(len(names))
    names = [names[index] for index in order]
    each = settings['pictures_per_patient']
    return [
        (number, names[first : first + each])
        for number, first in enumerate(range(0, len(names), each), start=1)
    ]


def _write_patient(job: tuple) -> int:
    root, settings, number, names = job
    seeds = np.random.SeedSequence([settings['seed'], 22, number]).spawn(len(names) + 1)
    patient = Patient(np.random.default_rng(seeds[0]))
    thorax = project_thorax(patient, settings['grid_mm'])
    rows = []
    for name, seed in zip(names, seeds[1:]):
        rng = np.random.default_rng(seed)
        nodules = 0
        if name[0] == 'n':
            nodules = int(rng.choice((1, 2, 3), p=(0.75, 0.19, 0.06)))
        pixels, boxes = simulate_radiograph(
            thorax,
            patient.lung_hu,
            nodules,
            rng,
            settings['size'],
            settings['diameters_mm'],
            settings['solid_hu'],
        )
        file = f'{name}.mha'
        write_radiograph(
            Path(root) / 'images' / file, pixels, FIELD_MM / settings['size']
        )
        owner = f'phantom-{number:05d}'
        rows += [(file, *box, 1, owner) for box in boxes] or [
            (file, 0, 0, 0, 0, 0, owner)
        ]
    write_json(Path(root) / 'rows' / f'{number:05d}.json', rows)
    return len(names)
