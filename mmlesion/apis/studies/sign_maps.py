"""Where a pathological sign lies, in 3-D, by networks that saw projections."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from torch import nn
from tqdm import tqdm

from mmlesion.attribution import GradCAM, last_feature_layer
from mmlesion.ct import (
    REGIONS,
    back_project,
    read_volume,
    region_slices,
    resample_to_grid,
    write_volume,
)
from mmlesion.datasets.indices.scan_list import projection_path, read_scan_list
from mmlesion.datasets.lung_projection import WHOLE_TASKS
from mmlesion.datasets.prepare import read_refined_lung
from mmlesion.engine.trained_model import load_trained_model
from mmlesion.evaluation.functional import map_position
from mmlesion.files import write_csv_table, write_json
from mmlesion.visualization import draw_sign_map, write_picture

TABLE_NAME = 'positions.csv'
SUMMARY_NAME = 'summary.json'
_MEASURES = ('distance_mm', 'chance_mm', 'chance_within', 'dice', 'chance_dice')


@dataclass
class SignNetwork:
    """A classifier of one view.

    Attributes:
        view: Which.
        model: Trained, in evaluation mode.
        pipeline: From the file of a projection to the model's input.
        layer: Mapped; None finds it at the first run.
    """

    view: str
    model: nn.Module
    pipeline: Compose
    layer: str | None = None

    def __call__(self, paths):
        """Probability of the sign, and its raw maps, of several projections.

        Returns:
            tuple[ndarray, ndarray]: (N,) and (N, h, w).
        """
        batch = self.model.data_preprocessor(
            pseudo_collate([self.pipeline(dict(img_path=path)) for path in paths]),
            False,
        )
        inputs, scores = batch['inputs'], []

        def forward(pictures):
            scores[:] = [self.model(pictures)]
            return scores[0]

        if self.layer is None:
            self.layer = last_feature_layer(self.model, inputs)
        with GradCAM(self.model, self.layer, forward=forward) as cam:
            maps = cam(inputs, _log_odds)[:, 0]
        probability = scores[0].detach().float().softmax(1)[:, 1]
        return probability.cpu().numpy(), maps.cpu().numpy()


def sign_maps(
    configs,
    checkpoints,
    out_dir,
    split='test',
    scan_dir=None,
    truth_dir=None,
    combination='product',
    layer=None,
    max_scans=None,
    tolerance_mm=15.0,
    device=None,
    progress=True,
):
    """Find a sign's place in 3-D by networks of several views.

    In each sub-region of each scan, Grad-CAM of the sign's score is computed on each
    view's projection and laid back into the scan within the lung mask, see
    :func:`mmlesion.ct.back_project`. Written are

    - ``<scan>_<sign>.nii.gz``: the position in the scan's geometry; in each sub-region
      a map from 0 to the mean probability of the networks;
    - ``<scan>_<sign>_<sub-region>.png`` where the sign is labelled, or, without a
      label, predicted: see :func:`draw_sign_map`;
    - ``positions.csv``: for each sub-region label, probabilities and the place (x, y,
      z) of the maximum, with the measures of :class:`MapPosition` where the true mask
      is known;
    - ``summary.json``: what :func:`position_table` prints.

    Source: Zusag et al., SAPSAM, Secs. 2.5, 3.2 and 4. Differs from it in: the score is
    log(p / (1 - p)), the difference of both classes' scores before the softmax. What
    raises both alike - often the black around the lung - changes no probability, but
    would be in the map of one score.

    Args:
        configs (sequence[Config]): Of one sign, each of another view; their test data
            set names the index of projections and the pipeline.
        checkpoints (sequence[str]): One for each.
        out_dir (str or Path): Folder of the results.
        split (str): Scans of this split of the data set, or ``'all'`` of the index,
            labelled or not.
        scan_dir (str or Path, optional): What the index's scans are relative to.
            Defaults to the index's folder.
        truth_dir (str or Path, optional): Folder of true masks,
            ``<scan>_<sign>.nii.gz``, to measure against.
        combination (str): Of the views; see :func:`back_project`.
        layer (str, optional): Layer to map, in all networks. By default that of the
            last feature maps.
        max_scans (int, optional): The first so many.
        tolerance_mm (float): How far from the sign the maximum is near it.
        device (str, optional): Defaults to the GPU, if there is one.
        progress (bool): Show a progress bar.

    Returns:
        dict: The summary.

    Raises:
        FileNotFoundError: If the index, a scan or a projection does not exist.
        ValueError: If configs are not of one sign and different views, checkpoints do
            not fit, or there is no scan.
    """
    task = _check_configs(configs, checkpoints)
    networks = [
        _network(cfg, checkpoint, layer, device)
        for cfg, checkpoint in zip(configs, checkpoints)
    ]
    rows, root, names = _scan_rows(configs[0], split)
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    table = []
    for row in tqdm(rows[:max_scans], 'Sign maps', unit='scan', disable=not progress):
        scan = read_volume(Path(scan_dir or root) / row.scan)
        found = find_sign(networks, row, root, scan, combination)
        stem = f'{names[row.scan]}_{task}'
        write_volume(out_dir / f'{stem}.nii.gz', replace(scan, array=found.position))
        truth = _truth(truth_dir, stem, scan)
        for region in found.probabilities:
            label = row.signs[task].get(region)
            place = found.maximum(region)
            table.append(
                dict(
                    scan=row.scan,
                    patient=row.patient,
                    region=region,
                    label=label,
                    **{
                        f'p_{view}': round(float(p), 4)
                        for view, p in found.probabilities[region].items()
                    },
                    **dict(
                        zip(
                            ('x_mm', 'y_mm', 'z_mm'),
                            scan.index_to_world(place).round(2).tolist(),
                        )
                    ),
                    **_measured(found, region, truth, tolerance_mm),
                )
            )
            if label or (label is None and found.probability(region) >= 0.5):
                write_picture(
                    out_dir / f'{stem}_{region}.png',
                    draw_sign_map(
                        scan.array,
                        scan.spacing_mm,
                        found.parts[region],
                        found.maps[region],
                        found.projections[region],
                        found.position,
                        place,
                        truth,
                        f'{row.scan}, {region}: {task}, '
                        f'p = {found.probability(region):.2f}',
                    ),
                )
    summary = _summary(task, table, combination, tolerance_mm, networks)
    _write(out_dir, table, summary)
    return summary


@dataclass
class FoundSign:
    """What networks of several views say of one scan; by sub-region and view.

    Attributes:
        position: Map in 3-D, (D, H, W) of the scan.
        lung: Where it may be, likewise.
        parts: Slices of each sub-region.
        spacing_mm: (z, y, x).
        probabilities, maps, projections: Of each sub-region with lung, by view; raw
            maps; RGB of 8 bits.
    """

    position: np.ndarray
    lung: np.ndarray
    parts: dict[str, tuple]
    spacing_mm: tuple[float, float, float]
    probabilities: dict[str, dict[str, float]]
    maps: dict[str, dict[str, np.ndarray]]
    projections: dict[str, dict[str, np.ndarray]]

    def probability(self, region) -> float:
        """Mean of the views."""
        return float(np.mean(list(self.probabilities[region].values())))

    def maximum(self, region) -> tuple[int, int, int]:
        """Voxel (z, y, x) of the greatest value in a sub-region's lung."""
        part = self.parts[region]
        values = np.where(self.lung[part], self.position[part], -1)
        place = np.unravel_index(values.argmax(), values.shape)
        return tuple(int(at + index.start) for at, index in zip(place, part))


def find_sign(networks, row, root, scan, combination='product') -> FoundSign:
    """Maps and position of a sign in one prepared scan.

    Args:
        networks (sequence[SignNetwork]): Of different views.
        row (ScanRow): Of the index of projections.
        root (str or Path): The index's folder.
        scan (CTVolume): The scan itself.
        combination (str): As :func:`back_project`.

    Returns:
        FoundSign: In the geometry of the scan.

    Raises:
        FileNotFoundError: If a projection does not exist.
        ValueError: If no sub-region has lung.
    """
    folder = Path(root) / row.folder
    regions = [region for region in REGIONS if region not in row.empty]
    if not regions:
        raise ValueError(f'{row.scan}: no sub-region has lung')
    probabilities, maps, pictures = (
        {region: {} for region in regions} for _ in range(3)
    )
    for network in networks:
        paths = [
            projection_path(str(folder), region, network.view, 0) for region in regions
        ]
        for path in paths:
            if not Path(path).is_file():
                raise FileNotFoundError(f'{path}: no such file; prepare the scan again')
        scores, raw = network(paths)
        for region, path, score, each in zip(regions, paths, scores, raw):
            probabilities[region][network.view] = float(score)
            maps[region][network.view] = each
            pictures[region][network.view] = _read_rgb(path)
    grid = read_refined_lung(str(folder))
    lung = grid.array
    position = np.zeros(grid.shape, np.float32)
    for region, part in region_slices(grid.shape).items():
        if region in maps:
            position[part] = np.mean(list(probabilities[region].values())) * (
                back_project(maps[region], lung[part], combination)
            )
    return FoundSign(
        _on_scan(grid, position, scan, 'linear'),
        _on_scan(grid, lung.astype(np.uint8), scan, 'nearest') > 0,
        region_slices(scan.shape),
        scan.spacing_mm,
        probabilities,
        maps,
        pictures,
    )


def position_table(summary: dict) -> str:
    """The summary as lines of text, each measure beside its chance level."""
    lines = [
        f'{summary["sign"]}: {summary["positive_regions"]} positive sub-regions, '
        f'views {", ".join(summary["layers"])}, {summary["combination"]}'
    ]
    if summary['measured_regions']:
        found = summary['found']
        for name, text in (
            ('inside', 'maximum inside the sign'),
            ('within', f'maximum within {summary["tolerance_mm"]:g} mm of it'),
            ('distance_mm', 'distance of the maximum, mean (mm)'),
            ('median_mm', 'distance of the maximum, median (mm)'),
            ('dice', 'Dice at the best threshold, mean'),
        ):
            line = f'  {text:36} {found[name]:8.3f}'
            if name in summary['chance']:
                line += f'   chance {summary["chance"][name]:.3f}'
            lines.append(line)
    return '\n'.join(lines)


def _log_odds(scores):
    return scores[:, 1] - scores[:, 0]


def _check_configs(configs, checkpoints) -> str:
    if not configs or len(configs) != len(checkpoints):
        raise ValueError(
            'One checkpoint for each config is needed, got '
            f'{len(configs)} configs and {len(checkpoints)} checkpoints.'
        )
    views, tasks = [], []
    for cfg in configs:
        data = cfg.get('test_dataloader', {}).get('dataset', {})
        if not str(data.get('type', '')).endswith('LungProjectionDataset'):
            raise ValueError(
                f'{cfg.filename}: expected a test_dataloader with a '
                'mmlesion.LungProjectionDataset.'
            )
        tasks.append(data.task)
        views.append(data.get('view', 'axial'))
    if len(set(tasks)) > 1 or tasks[0] in WHOLE_TASKS:
        raise ValueError(
            f'expected networks of one sign in the sub-regions, got {", ".join(tasks)}'
        )
    if len(set(views)) < len(views):
        raise ValueError(
            f'expected each network to be of another view, got {", ".join(views)}'
        )
    return tasks[0]


def _network(cfg, checkpoint, layer, device) -> SignNetwork:
    model = load_trained_model(cfg, checkpoint, device)
    data = cfg.test_dataloader.dataset
    return SignNetwork(data.get('view', 'axial'), model, Compose(data.pipeline), layer)


def _scan_rows(cfg, split):
    """Rows of an index that belong to a split, its folder, and names of results."""
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    data = DATASETS.build(
        dict(cfg.test_dataloader.dataset, split=split, balance=False, lazy_init=True)
    )
    rows = read_scan_list(data.ann_file, prepared=True)
    names = result_names([row.scan for row in rows])
    if split != 'all':
        chosen = {sample['scan'] for sample in data.load_data_list()}
        rows = [row for row in rows if row.scan in chosen]
    return rows, Path(data.ann_file).parent, names


def _on_scan(grid, array, scan, interpolation):
    """An array of the grid on the voxels of the scan."""
    return resample_to_grid(
        replace(grid, array=array), scan.shape, interpolation=interpolation, outside=0
    ).array


def result_names(scans: Sequence[str]) -> dict[str, str]:
    """Name the results of scans so that no two scans share a name.

    The name is that of the file without suffix. Scans that share it are named by their
    whole path, ``P1/ct.nii.gz`` becoming ``P1_ct``, and by a number where that is not
    unique either.

    Args:
        scans: Paths of all scans of an index, each once.

    Returns:
        Path to name.
    """
    paths = [re.sub(r'\.(nii|mha|mhd|nrrd|nhdr)(\.gz)?$', '', each) for each in scans]
    short = [Path(path).name for path in paths]
    long = [re.sub(r'\W+', '_', path).strip('_') for path in paths]
    names: dict[str, str] = {}
    for scan, brief, full in zip(scans, short, long):
        name = brief if short.count(brief) == 1 else full
        number, unique = 1, name
        while unique in names.values() or (unique != brief and unique in short):
            number += 1
            unique = f'{name}_{number}'
        names[scan] = unique
    return names


def _truth(truth_dir, stem, scan):
    """The true mask, (D, H, W) bool; None where it is not known."""
    if truth_dir is None:
        return None
    path = Path(truth_dir) / f'{stem}.nii.gz'
    if not path.exists():
        return None
    mask = read_volume(path)
    if mask.shape != scan.shape:
        raise ValueError(
            f'{path}: expected a mask of the shape of its scan '
            f'{scan.shape}, got {mask.shape}'
        )
    return mask.array > 0


def _measured(found, region, truth, tolerance_mm) -> dict:
    part = found.parts[region]
    if truth is None or not truth[part].any() or not found.lung[part].any():
        return dict.fromkeys(_MEASURES)
    return {
        name: round(value, 4)
        for name, value in map_position(
            found.position[part],
            truth[part],
            found.lung[part],
            found.spacing_mm,
            tolerance_mm,
        )
        ._asdict()
        .items()
    }


def _summary(task, table, combination, tolerance_mm, networks) -> dict:
    positive = [row for row in table if row['label']]
    measured = [row for row in positive if row['distance_mm'] is not None]
    summary = dict(
        sign=task,
        combination=combination,
        tolerance_mm=tolerance_mm,
        layers={network.view: network.layer for network in networks},
        regions=len(table),
        positive_regions=len(positive),
        measured_regions=len(measured),
    )
    if measured:
        values = {name: np.array([row[name] for row in measured]) for name in _MEASURES}
        distance = values['distance_mm']
        summary['found'] = dict(
            inside=(distance == 0).mean(),
            within=(distance <= tolerance_mm).mean(),
            distance_mm=distance.mean(),
            median_mm=np.median(distance),
            dice=values['dice'].mean(),
        )
        summary['chance'] = dict(
            within=values['chance_within'].mean(),
            distance_mm=values['chance_mm'].mean(),
            dice=values['chance_dice'].mean(),
        )
        for part in ('found', 'chance'):
            summary[part] = {
                name: round(float(value), 4) for name, value in summary[part].items()
            }
    return summary


def _write(out_dir, table, summary) -> None:
    write_csv_table(out_dir / TABLE_NAME, list(table[0]), table)
    write_json(out_dir / SUMMARY_NAME, summary, indent=2)


def _read_rgb(path):
    """A picture of 8 bits as RGB."""
    return cv2.imread(path)[..., ::-1]
