"""Pathological signs of one scan, with the files of a scan report."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from scipy import ndimage

from mmlesion.apis.scan_program import CaseOutputs, write_case
from mmlesion.ct import GRID_SHAPE, CTVolume
from mmlesion.datasets.indices.scan_list import ScanRow
from mmlesion.datasets.prepare import write_scan_projections
from mmlesion.files import counted
from mmlesion.scan import ScanResult, StepRecord
from mmlesion.scan.finding_map import FindingMap
from mmlesion.scan.mask_findings import empty_result, finding_of_mask
from mmlesion.scan.reading import read_scan
from mmlesion.scan.steps import ScanCase
from mmlesion.version import __version__

from .sign_networks import FoundSign, SignNetwork, find_sign, sign_of_configs

_OUTLINE = 0.5  # fraction of a region's largest map value at the outline of the finding
_FROM_MAP = 'maximum of the map'
_NO_POSITION = 'center of the lung region, because the map gives no position'


def find_signs(
    scan: str | os.PathLike[str] | CTVolume,
    configs: Sequence[Config],
    checkpoints: Sequence[str],
    out_dir: str | os.PathLike[str],
    lung_mask: str | os.PathLike[str] | None = None,
    score_thr: float = 0.5,
    combination: str = 'product',
    grid_shape: Sequence[int] = GRID_SHAPE,
    outputs: CaseOutputs | None = None,
    device: str | None = None,
    sign_thrs: Mapping[str, float] | None = None,
) -> ScanResult:
    """Find pathological signs in one scan and write the findings.

    The scan needs no preparation: its lungs are segmented and projected in
    a temporary folder. A finding is a lung region whose mean probability over the views
    of a sign reaches the threshold of the sign. Its outline is the part of the position
    map (see :func:`mmlesion.ct.back_project`) around the maximum that exceeds half of
    it. If the map of a region is zero, the finding is one voxel at the center of the
    lung in the region, with a warning.

    Source: Zusag et al., SAPSAM, Secs. 2.1 to 2.5 and 4.

    Args:
        scan: DICOM folder or file, see :func:`mmlesion.ct.read_volume`, or a volume.
        configs: Networks of one or more signs; the networks of a sign have different
            views.
        checkpoints: One checkpoint per config.
        out_dir: Folder of the results.
        lung_mask: Lung mask of another program, see
            :func:`mmlesion.ct.read_lung_mask`.
        score_thr: Minimum probability of a finding, for signs without an entry in
            ``sign_thrs``.
        combination: How the views are combined, see :func:`mmlesion.ct.back_project`.
        grid_shape: (D, H, W) to which the training scans were resampled.
        outputs: Files to write. Defaults to JSON, CSV and a label map.
        device: Defaults to the GPU if available.
        sign_thrs: Minimum probability by sign, such as the thresholds of
            :func:`evaluate_signs`.

    Returns:
        The findings; ``extras['signs']`` has the probabilities of all lung regions.

    Raises:
        FileNotFoundError: If the scan, the mask or a checkpoint does not exist.
        ValueError: If no lungs are found, the mask does not match, configs are
            not for signs, or a threshold is out of range or for an unknown sign.
    """
    groups = _pairs_by_sign(configs, checkpoints)
    thresholds = _thresholds(list(groups), score_thr, sign_thrs or {})
    signs = {
        sign: [SignNetwork.load(*pair, device=device) for pair in pairs]
        for sign, pairs in groups.items()
    }
    read = read_scan(scan)
    volume = read.volume
    settings = dict(grid_shape=list(grid_shape), rotations=1, mode='clip')
    record = StepRecord(
        'signs',
        config=' '.join(Path(cfg.filename or '').name for cfg in configs),
        checkpoint=' '.join(Path(path).name for path in checkpoints),
        settings=dict(settings, combination=combination, score_thr=thresholds),
        version=__version__,
    )
    case = ScanCase(volume, empty_result(read.path, volume, record))
    case.result.detection_grid = settings
    case.result.extras['signs'] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = write_scan_projections(
            folder,
            volume,
            settings,
            None if lung_mask is None else os.fspath(lung_mask),
        )
        case.result.warnings = [*read.warnings, *made['doubts']]
        row = ScanRow(read.path, '', None, None, {}, empty=tuple(made['empty']))
        for sign, networks in signs.items():
            found = find_sign(networks, row, folder, volume, combination)
            _add_findings(case, sign, found, thresholds[sign], record)
    result = case.result
    result.findings.sort(key=lambda each: -each.score)
    numbers = {each.id: number for number, each in enumerate(result.findings, 1)}
    case.maps = {numbers[old]: maps for old, maps in case.maps.items()}
    for each in result.findings:
        each.id = numbers[each.id]
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    outputs = outputs or CaseOutputs()
    if outputs.threshold is None:  # the page shows all findings
        outputs = replace(outputs, threshold=min(0.5, *thresholds.values()))
    write_case(out_dir, case, outputs)
    return result


def _pairs_by_sign(
    configs: Sequence[Config], checkpoints: Sequence[str]
) -> dict[str, list[tuple[Config, str]]]:
    """Return the pairs of config and checkpoint of each sign."""
    if not configs or len(configs) != len(checkpoints):
        sign_of_configs(configs, checkpoints)  # raises an error
    groups: dict[str, list[tuple[Config, str]]] = {}
    for cfg, checkpoint in zip(configs, checkpoints):
        sign = sign_of_configs([cfg], [checkpoint])
        groups.setdefault(sign, []).append((cfg, checkpoint))
    init_default_scope(configs[0].get('default_scope', 'mmpretrain'))
    for pairs in groups.values():
        sign_of_configs(*zip(*pairs))  # each of another view
    return groups


def _thresholds(
    signs: Sequence[str], score_thr: float, sign_thrs: Mapping[str, float]
) -> dict[str, float]:
    """Return the threshold of each sign."""
    for name, value in (('score_thr', score_thr), *sign_thrs.items()):
        if name != 'score_thr' and name not in signs:
            raise ValueError(
                f'a threshold is for the sign {name!r}, but the networks are for '
                f'{", ".join(signs)}'
            )
        if not 0 <= value <= 1:
            of_sign = '' if name == 'score_thr' else f' of {name}'
            raise ValueError(f'score_thr{of_sign} must be in [0, 1], but is {value}')
    return {sign: sign_thrs.get(sign, score_thr) for sign in signs}


def _add_findings(
    case: ScanCase, sign: str, found: FoundSign, score_thr: float, record: StepRecord
) -> None:
    """Add the findings of a sign, and its probabilities in all lung regions."""
    case.result.extras['signs'][sign] = {
        region: dict(mean=found.probability(region), **views)
        for region, views in found.probabilities.items()
    }
    for region in found.probabilities:
        score = found.probability(region)
        if score < score_thr:
            continue
        at, known = found.maximum(region), found.has_position(region)
        if not known:
            case.result.warnings.append(
                f'{sign}, {region}: the probability is {score:.2f}, but the map gives '
                'no position; the place is the center of the lung region'
            )
        number = len(case.result.findings) + 1
        case.maps[number] = maps = _maps(found, region, at)
        values = maps['score_map'].values
        own = np.where(maps['outline'].values > 0, values, 0)
        finding = finding_of_mask(
            number, sign, score, case.volume, maps['outline'], own.max((1, 2)).tolist()
        )
        finding.add(
            record,
            dict(
                region=region,
                probabilities=found.probabilities[region],
                maximum_mm=case.volume.index_to_world(at).tolist() if known else None,
                place=_FROM_MAP if known else _NO_POSITION,
            ),
        )
        case.result.findings.append(finding)


def _maps(
    found: FoundSign, region: str, at: tuple[int, int, int]
) -> dict[str, FindingMap]:
    """Return outline and map of a lung region in the box of the outline."""
    if not found.has_position(region):
        voxel = np.zeros((1, 1, 1), np.float32)
        return dict(
            outline=FindingMap.at_voxels(voxel == 0, at),
            score_map=FindingMap.at_voxels(voxel, at),
        )
    part = found.parts[region]
    values = found.position[part]
    labels = np.empty(values.shape, np.int32)
    ndimage.label(values >= _OUTLINE * found.position[at], output=labels)
    own = labels == labels[tuple(i - side.start for i, side in zip(at, part))]
    box = ndimage.find_objects(own.astype(np.uint8))[0]
    z, y, x = (inner.start + outer.start for inner, outer in zip(box, part))
    return dict(
        outline=FindingMap.at_voxels(own[box], (z, y, x)),
        score_map=FindingMap.at_voxels(np.clip(values[box], 0, 1), (z, y, x)),
    )


def signs_table(result: ScanResult) -> str:
    """Format the probabilities of all lung regions as lines of text."""
    lines = []
    for sign, regions in result.extras['signs'].items():
        lines.append(f'{sign}:')
        lines += [
            f'  {region:14} {values["mean"]:.2f}' for region, values in regions.items()
        ]
    return '\n'.join([*lines, counted(len(result.findings), 'finding')])
