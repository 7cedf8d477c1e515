"""Localization of a pathological sign in the scans of a data set."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from tqdm import tqdm

from mmlesion.ct import CTVolume, read_labels, read_volume, write_volume
from mmlesion.datasets.indices.scan_list import read_scan_list
from mmlesion.evaluation.functional import (
    binary_areas,
    binary_rates,
    f1_threshold,
    map_position,
)
from mmlesion.files import write_csv_table, write_json
from mmlesion.scan.sign_networks import (
    FoundSign,
    SignNetwork,
    find_sign,
    sign_of_configs,
)
from mmlesion.visualization import draw_sign_map, write_picture

TABLE_NAME = 'positions.csv'
SUMMARY_NAME = 'summary.json'
_MEASURES = ('distance_mm', 'chance_mm', 'chance_within', 'dice', 'chance_dice')


def sign_maps(
    configs: Sequence[Config],
    checkpoints: Sequence[str],
    out_dir: str | os.PathLike[str],
    split: str = 'test',
    scan_dir: str | os.PathLike[str] | None = None,
    truth_dir: str | os.PathLike[str] | None = None,
    combination: str = 'product',
    layer: str | None = None,
    max_scans: int | None = None,
    tolerance_mm: float = 15.0,
    threshold: float = 0.5,
    device: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Locate a sign in 3-D by networks of several views.

    In each lung region of each scan, Grad-CAM of the sign's score is computed on the
    projection of each view and placed in the scan within the lung mask of the
    preparation, see :func:`mmlesion.ct.back_project`. The files are

    - ``<scan>_<sign>.nii.gz``: the position in the geometry of the scan; in each
      lung region a map from 0 to the mean probability of the networks. Names of scans
      are unique, see :func:`result_names`;
    - ``<scan>_<sign>_<region>.png`` where the sign is labeled or, without a label,
      the mean probability exceeds ``threshold``: see :func:`draw_sign_map`;
    - ``positions.csv``: for each lung region label, probabilities and the position (x,
      y, z) of the maximum, with the measures of :class:`MapPosition` where the true
      mask is known;
    - ``summary.json``: the numbers that :func:`position_table` prints.

    Source: Zusag et al., SAPSAM, Secs. 2.5, 3.2 and 4. In contrast to the paper, the
    score is log(p / (1 - p)), the difference of the scores of both classes before the
    softmax. Pixels that raise both scores equally, often the black background of the
    lung, do not change the probability, but would appear in the map of one score.

    Args:
        configs: Networks of one sign, each of another view; their test data set names
            the index of projections and the pipeline.
        checkpoints: One checkpoint per config.
        out_dir: Folder of the results.
        split: Scans of this split of the data set, or ``'all'`` scans of the index,
            labeled or not.
        scan_dir: Root of the paths of the scans. Defaults to the folder of the index.
        truth_dir: Folder of true masks, ``<scan>_<sign>.nii.gz``, on the grids of the
            scans, to measure against.
        combination: How the views are combined, see :func:`back_project`.
        layer: Layer to map in all networks. Defaults to the layer of the last feature
            maps.
        max_scans: Maximum number of scans.
        tolerance_mm: Maximum distance from the sign of a maximum that counts as near.
        threshold: A lung region with a higher mean probability is positive. The
            threshold should come from ``split='val'``, see :func:`classification`.
        device: Defaults to the GPU if available.
        progress: Whether to show a progress bar.

    Returns:
        The summary.

    Raises:
        FileNotFoundError: If the index, a scan or a projection does not exist.
        ValueError: If configs are not of one sign and different views, checkpoints do
            not match, a true mask is on another grid, the threshold is not in [0, 1],
            or there are no scans.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f'threshold must be in [0, 1], but is {threshold}')
    task = sign_of_configs(configs, checkpoints)
    networks = [
        SignNetwork.load(cfg, checkpoint, layer, device)
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
            table.append(
                dict(
                    scan=row.scan,
                    patient=row.patient,
                    region=region,
                    label=label,
                    **_numbers_of_region(scan, found, region),
                    **_measured(found, region, truth, tolerance_mm),
                )
            )
            if label or (label is None and found.probability(region) > threshold):
                title = f'{row.scan}, {region}: {task}'
                picture = _picture_of_region(scan, found, region, truth, title)
                write_picture(out_dir / f'{stem}_{region}.png', picture)
    summary = _summary(task, table, combination, tolerance_mm, networks)
    summary['classification'] = classification(table, threshold)
    _write(out_dir, table, summary)
    return summary


def _numbers_of_region(
    scan: CTVolume, found: FoundSign, region: str
) -> dict[str, float]:
    """Return the probability of each view, and the place of the maximum in mm."""
    probabilities = found.probabilities[region]
    place_mm = scan.index_to_world(found.maximum(region)).round(2).tolist()
    return {
        **{f'p_{view}': round(float(p), 4) for view, p in probabilities.items()},
        **dict(zip(('x_mm', 'y_mm', 'z_mm'), place_mm)),
    }


def _picture_of_region(
    scan: CTVolume,
    found: FoundSign,
    region: str,
    truth: np.ndarray | None,
    title: str,
) -> np.ndarray:
    return draw_sign_map(
        scan.array,
        scan.spacing_mm,
        found.parts[region],
        found.maps[region],
        found.projections[region],
        found.position,
        found.maximum(region),
        truth,
        f'{title}, p = {found.probability(region):.2f}',
    )


def classification(
    table: Sequence[dict[str, Any]], threshold: float = 0.5
) -> dict[str, dict[str, float]]:
    """Compute rates of each view and of their mean, over all labeled lung regions.

    The classes keep their natural frequencies, so the precision is that of the
    scans, unlike on the balanced data sets of training and testing.

    Args:
        table: Rows of ``positions.csv``.
        threshold: A probability above it is called positive.

    Returns:
        By view, and ``'mean'`` of all views: ``precision``, ``sensitivity``, ``f1``,
        ``auc``, ``prevalence``, and ``best_threshold`` with the largest F1, which is
        valid only for other patients. Empty without samples of both classes.
    """
    rows = [row for row in table if row['label'] is not None]
    labels = np.array([row['label'] for row in rows], int)
    if len(set(labels.tolist())) < 2:
        return {}
    names = [name for name in rows[0] if name.startswith('p_')]
    views = {name[2:]: np.array([row[name] for row in rows]) for name in names}
    found = {}
    for view, scores in (*views.items(), ('mean', np.mean(list(views.values()), 0))):
        rates = binary_rates(scores, labels, threshold)
        found[view] = {
            **{name: float(rates[name]) for name in ('precision', 'sensitivity', 'f1')},
            'auc': float(binary_areas(scores, labels)['auc']),
            'prevalence': float(labels.mean()),
            'best_threshold': f1_threshold(scores, labels),
        }
    return found


def position_table(summary: dict[str, Any]) -> str:
    """Format the summary as lines of text, each measure next to its chance level."""
    lines = [
        f'{summary["sign"]}: {summary["positive_regions"]} positive lung regions, '
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
    for view, rates in summary.get('classification', {}).items():
        lines.append(
            f'  {view:9} prevalence {rates["prevalence"]:.2f}, precision '
            f'{rates["precision"]:.2f}, recall {rates["sensitivity"]:.2f}, F1 '
            f'{rates["f1"]:.2f}, AUC {rates["auc"]:.2f}, best threshold '
            f'{rates["best_threshold"]:.2f}'
        )
    return '\n'.join(lines)


def _scan_rows(cfg, split):
    """Return the rows of a split in an index, its folder, and names of results."""
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


def result_names(scans: Sequence[str]) -> dict[str, str]:
    """Return unique names for the results of scans.

    The name is the file name without suffix. If several scans have the same name, it is
    their whole path (``P1_ct`` for ``P1/ct.nii.gz``), with a number if that is not
    unique either.

    Args:
        scans: Paths of all scans of an index, without repetitions.

    Returns:
        The names by path.
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
    """Return the true mask, (D, H, W) bool; None if it is unknown."""
    if truth_dir is None:
        return None
    path = Path(truth_dir) / f'{stem}.nii.gz'
    return read_labels(path, scan).array > 0 if path.exists() else None


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
    summary: dict[str, Any] = dict(
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
