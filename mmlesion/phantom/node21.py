"""Simulated chest radiographs in the layout of NODE21."""

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmlesion.ct import write_radiograph
from mmlesion.files import write_json

from .body import Enhancement, Patient, Region
from .made_with import build_folder, simulate_missing
from .scan import paint_anatomy

# Increased whenever a seed gives different images, so that versions are not mixed.
RADIOGRAPH_VERSION = 1
RADIOGRAPH_COLUMNS = ('img_name', 'x', 'y', 'width', 'height', 'label', 'patient')
# Attenuation of water at about 70 keV in 1/cm; a radiograph shows its path integral.
WATER_PER_CM = 0.19
FIELD_MM = 350.0
DIAMETERS_MM = (6.0, 30.0)  # range of the nodules in NODE21
SOLID_HU = (0.0, 90.0)  # soft tissue
_SLICES_AT_ONCE = 48


@dataclass
class Thorax:
    """Front view of a patient, projected along parallel rays.

    Attributes:
        water_cm: Path length of water with the same attenuation along each ray, cm.
        lung: Mask of the lungs in 3-D.
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
        grid_mm: Spacing along x and z. The spacing along the rays is twice as large.
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
    """Simulate a radiograph with its own positioning, dose and nodules.

    Args:
        thorax: From :func:`project_thorax`.
        lung_hu: HU of the lung tissue that a nodule replaces.
        num_nodules: Number of nodules, anywhere in the lungs.
        rng: Random number generator of the radiograph.
        size: Side in pixels.
        diameters_mm: Smallest and largest diameter of the nodules. The distribution is
            log-uniform: 6 to 12 is as frequent as 12 to 24.
        solid_hu: Smallest and largest HU of solid nodules.

    Returns:
        12-bit gray values (size, size), uint16, bright at high attenuation, and the
        boxes ``(x, y, width, height)`` of the nodules in pixels.

    Raises:
        RuntimeError: If no nodule fits.
    """
    pixel_mm = FIELD_MM * rng.uniform(0.92, 1.06) / size
    angle = np.deg2rad(rng.normal(0, 1.2))
    middle = np.array((rng.normal(0, 6), 120 + rng.normal(0, 8)))
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array(((cosine, -sine), (sine, cosine)))  # pixels to mm, (x, z)
    step = thorax.x_mm[1] - thorax.x_mm[0]
    origin = np.array((thorax.x_mm[0], thorax.z_mm[0]))
    # Grid index of each pixel center.
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
            raise RuntimeError('no nodule fits into the lungs')
    # Blur the nodules as much as the anatomy, so that sharpness does not reveal them.
    added = cv2.GaussianBlur(added, (0, 0), 0.45 * step / pixel_mm)
    absorbed = WATER_PER_CM * np.maximum(water_cm + added, 0)
    # Few photons pass the abdomen, so the noise increases with the attenuation.
    noise = rng.standard_normal((size, size), dtype=np.float32) / np.float32(pixel_mm)
    absorbed += np.float32(rng.uniform(0.001, 0.004)) * noise * np.exp(absorbed / 2 - 1)
    # Unsharp masking as in commercial devices, so that lungs and abdomen fit in one
    # range.
    absorbed -= rng.uniform(0.45, 0.65) * _blurred(absorbed, 25 / pixel_mm)
    low, high = np.percentile(absorbed[::4, ::4], (1, 99.7))
    gray = np.clip((absorbed - low) / (high - low), 0, 1) ** rng.uniform(0.85, 1.2)
    return np.rint(4095 * gray).astype(np.uint16), boxes


def _blurred(picture, sigma_px):
    """Apply a wide Gaussian blur at an eighth of the resolution."""
    small = cv2.resize(picture, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(
        small, (0, 0), sigma_px / 8, borderType=cv2.BORDER_REPLICATE
    )
    return cv2.resize(small, picture.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _nodule(thorax, lung_hu, rng, size, pixel_mm, turn, middle, diameters_mm, solid_hu):
    """Return box and added water (cm) of a nodule; None if the nodule does not fit."""
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
    # One nodule in six is not solid.
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
    """Simulate chest radiographs and write them in the layout of NODE21.

    The output contains ``metadata.csv`` (one row for each nodule box, and one row with
    ``label`` 0 for each image without nodules), ``images/nNNNN.mha`` (with nodules) and
    ``cNNNN.mha`` (without), 12 bits. In addition to NODE21, it contains
    ``phantom.json`` (the settings), and the csv file has a last column ``patient``.
    Without this column, a split could put images of one patient into different subsets.

    The anatomy of a patient is projected once, which is the slowest step, and used for
    several images with different positioning, dose and nodules. Everything is written
    to ``<out_dir>.partial``, which is renamed at the end. An interrupted run resumes
    where it stopped. The output does not depend on the number of processes.

    Args:
        out_dir: Output folder.
        num_with: Number of images with nodules. Three quarters of them have one nodule.
        num_without: Number of images without nodules.
        size: Width and height in pixels, 1024 in NODE21.
        seed: Random seed.
        workers: Number of processes.
        pictures_per_patient: Number of images with the same anatomy.
        grid_mm: Spacing of the grid on which the anatomy is painted.
        diameters_mm: Smallest and largest diameter of a nodule, 6 to 30 in NODE21.
        solid_hu: Smallest and largest HU of solid nodules, which are five in six.
            Calcified nodules have 200 to 1000.

    Returns:
        The output folder.

    Raises:
        ValueError: If an argument is out of range.
        FileExistsError: If ``out_dir`` contains anything else.
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
    """Simulate the missing images, then write the tables."""
    jobs = {
        f'{number:05d}': (str(partial), settings, number, names)
        for number, names in _plan(settings)
    }
    sizes = [len(names) for *_, names in jobs.values()]
    rows = simulate_missing(
        _write_patient, jobs, partial, out_dir, workers, 'radiograph', sizes
    )
    with open(partial / 'metadata.csv', 'w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(RADIOGRAPH_COLUMNS)
        writer.writerows(sorted(itertools.chain(*rows)))


def _check(settings: dict, workers: int) -> None:
    for key in ('num_with', 'num_without', 'seed'):
        if settings[key] < 0:
            raise ValueError(f'{key} must be 0 or more, got {settings[key]}')
    if settings['num_with'] + settings['num_without'] == 0:
        raise ValueError(
            'nothing to simulate: the numbers of images with and '
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
            'diameters_mm must be a minimum and a maximum between 3 and 40 '
            f'mm, got {settings["diameters_mm"]}'
        )
    least, *greatest = settings['solid_hu']
    if len(greatest) != 1 or not -500 <= least <= greatest[0] <= 2000:
        raise ValueError(
            'solid_hu must be a minimum and a maximum between -500 and 2000 '
            f'HU, got {settings["solid_hu"]}'
        )
    if not 1 <= settings['grid_mm'] <= 8:
        raise ValueError(f'grid_mm must be 1 to 8, got {settings["grid_mm"]}')


def _plan(settings: dict) -> list[tuple]:
    """Return (patient number, image names) of all patients."""
    names = [f'n{n:04d}' for n in range(1, settings['num_with'] + 1)]
    names += [f'c{n:04d}' for n in range(1, settings['num_without'] + 1)]
    order = np.random.default_rng([settings['seed'], 21]).permutation(len(names))
    names = [names[index] for index in order]
    each = settings['pictures_per_patient']
    return [
        (number, names[first : first + each])
        for number, first in enumerate(range(0, len(names), each), start=1)
    ]


def _write_patient(job: tuple) -> None:
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
