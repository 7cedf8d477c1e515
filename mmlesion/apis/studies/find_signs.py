"""Pathological signs of one scan, with the files of a scan report."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from scipy import ndimage

from mmlesion.apis.scan_program import CaseOutputs, write_case
from mmlesion.ct import GRID_SHAPE, CTVolume
from mmlesion.datasets.indices.scan_list import ScanRow
from mmlesion.datasets.prepare import write_scan_projections
from mmlesion.scan import Box3D, Finding, ScanResult, SliceBox, StepRecord
from mmlesion.scan.finding_map import FindingMap
from mmlesion.scan.reading import read_scan
from mmlesion.scan.steps import ScanCase, mask_axes_mm
from mmlesion.version import __version__

from .sign_networks import FoundSign, SignNetwork, find_sign, sign_of_configs

_OUTLINE = 0.5  # fraction of a region's largest map value at the outline of the finding


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
) -> ScanResult:
    """Find pathological signs in one scan and write the findings.

    The scan needs no preparation: its lungs are segmented and projected in
    a temporary folder. A finding is a lung region whose mean probability over the views
    of a sign reaches ``score_thr``. Its outline is the part of the position map (see
    :func:`mmlesion.ct.back_project`) around the maximum that exceeds half of it.

    Source: Zusag et al., SAPSAM, Secs. 2.1 to 2.5 and 4.

    Args:
        scan: DICOM folder or file, see :func:`mmlesion.ct.read_volume`, or a volume.
        configs: Networks of one or more signs; the networks of a sign have different
            views.
        checkpoints: One checkpoint per config.
        out_dir: Folder of the results.
        lung_mask: Lung mask of another program, see
            :func:`mmlesion.ct.read_lung_mask`.
        score_thr: Minimum probability of a finding.
        combination: How the views are combined, see :func:`mmlesion.ct.back_project`.
        grid_shape: (D, H, W) to which the training scans were resampled.
        outputs: Files to write. Defaults to JSON, CSV and a label map.
        device: Defaults to the GPU if available.

    Returns:
        The findings; ``extras['signs']`` has the probabilities of all lung regions.

    Raises:
        FileNotFoundError: If the scan, the mask or a checkpoint does not exist.
        ValueError: If no lungs are found, the mask does not match, or configs are
            not for signs.
    """
    if not 0 <= score_thr <= 1:
        raise ValueError(f'score_thr must be in [0, 1], but is {score_thr}')
    signs = _networks_by_sign(configs, checkpoints, device)
    read = read_scan(scan)
    volume = read.volume
    settings = dict(grid_shape=list(grid_shape), rotations=1, mode='clip')
    record = StepRecord(
        'signs',
        config=' '.join(Path(cfg.filename or '').name for cfg in configs),
        checkpoint=' '.join(Path(path).name for path in checkpoints),
        settings=dict(settings, combination=combination, score_thr=score_thr),
        version=__version__,
    )
    case = ScanCase(volume, _empty_result(read.path, volume, settings, record))
    with tempfile.TemporaryDirectory() as folder:
        made = write_scan_projections(
            folder,
            volume,
            settings,
            None if lung_mask is None else os.fspath(lung_mask),
        )
        row = ScanRow(read.path, '', None, None, {}, empty=tuple(made['empty']))
        for sign, networks in signs.items():
            found = find_sign(networks, row, folder, volume, combination)
            _add_findings(case, sign, found, score_thr, record)
    result = case.result
    result.warnings = [*read.warnings, *made['doubts']]
    result.findings.sort(key=lambda each: -each.score)
    numbers = {each.id: number for number, each in enumerate(result.findings, 1)}
    case.maps = {numbers[old]: maps for old, maps in case.maps.items()}
    for each in result.findings:
        each.id = numbers[each.id]
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    write_case(out_dir, case, outputs or CaseOutputs())
    return result


def _networks_by_sign(
    configs: Sequence[Config], checkpoints: Sequence[str], device: str | None
) -> dict[str, list[SignNetwork]]:
    if not configs or len(configs) != len(checkpoints):
        sign_of_configs(configs, checkpoints)  # raises an error
    groups: dict[str, list[tuple[Config, str]]] = {}
    for cfg, checkpoint in zip(configs, checkpoints):
        sign = sign_of_configs([cfg], [checkpoint])
        groups.setdefault(sign, []).append((cfg, checkpoint))
    init_default_scope(configs[0].get('default_scope', 'mmpretrain'))
    for pairs in groups.values():
        sign_of_configs(*zip(*pairs))  # each of another view
    return {
        sign: [SignNetwork.load(*pair, device=device) for pair in pairs]
        for sign, pairs in groups.items()
    }


def _empty_result(
    path: str, volume: CTVolume, settings: dict, record: StepRecord
) -> ScanResult:
    source = volume.source
    assert source is not None
    grid = source.grid
    return ScanResult(
        source=path,
        kind=source.kind,
        series_uid=source.series_uid,
        grid=grid,
        slice_axis=_slice_axis(volume),
        field_of_view_mm=grid.field_of_view_mm,
        largest_spacing_mm=max(grid.spacing_mm),
        detection_grid=settings,
        findings=[],
        slice_numbers=list(source.slice_numbers),
        provenance=[record],
        extras=dict(signs={}),
    )


def _slice_axis(volume: CTVolume) -> int:
    """Return the axis of the file along which the axial slices are stacked."""
    ways = np.asarray(volume.source_grid.direction).T @ volume.direction[:, 2]
    return int(np.abs(ways).argmax())


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
        at = found.maximum(region)
        if score < score_thr or found.position[at] <= 0:
            continue
        number = len(case.result.findings) + 1
        case.maps[number], start = _maps(found, region, at)
        finding = _finding(number, sign, score, case.volume, case.maps[number], start)
        finding.add(
            record,
            dict(
                region=region,
                probabilities=found.probabilities[region],
                maximum_mm=case.volume.index_to_world(at).tolist(),
            ),
        )
        case.result.findings.append(finding)


def _maps(
    found: FoundSign, region: str, at: tuple[int, int, int]
) -> tuple[dict[str, FindingMap], tuple[int, int, int]]:
    """Return outline and map of a lung region in the outline's box, and its corner."""
    part = found.parts[region]
    values = found.position[part]
    labels = np.empty(values.shape, np.int32)
    ndimage.label(values >= _OUTLINE * found.position[at], output=labels)
    own = labels == labels[tuple(i - side.start for i, side in zip(at, part))]
    box = ndimage.find_objects(own.astype(np.uint8))[0]
    z, y, x = (inner.start + outer.start for inner, outer in zip(box, part))
    maps = dict(
        outline=FindingMap.at_voxels(own[box], (z, y, x)),
        score_map=FindingMap.at_voxels(np.clip(values[box], 0, 1), (z, y, x)),
    )
    return maps, (z, y, x)


def _finding(
    number: int,
    sign: str,
    score: float,
    volume: CTVolume,
    maps: dict[str, FindingMap],
    start: tuple[int, int, int],
) -> Finding:
    mask, values = maps['outline'].values, maps['score_map'].values
    grid, axis = volume.source_grid, _slice_axis(volume)
    slices = []
    for layer, (own, map_) in enumerate(zip(mask, values)):
        rows, columns = np.nonzero(own)
        low = np.array((layer, rows.min(), columns.min())) + start
        high = np.array((layer, rows.max(), columns.max())) + start
        index = int(round(float(volume.index_to_source(low)[axis])))
        slices.append(
            SliceBox(index, float(map_[own].max()), _box_in_file(low, high, volume))
        )
    box = _box_in_file(np.array(start), np.array(start) + mask.shape - 1, volume)
    x, y, z = grid.index_to_world(box.center).tolist()
    long_mm, short_mm = mask_axes_mm(mask, volume.spacing_mm)
    return Finding(
        id=number,
        score=score,
        box=box,
        center_mm=(x, y, z),
        box_mm=box.to_mm(grid),
        best_slice=max(slices, key=lambda each: each.score).slice_index,
        slices=sorted(slices, key=lambda each: each.slice_index),
        long_diameter_mm=long_mm,
        short_diameter_mm=short_mm,
        label=sign,
    )


def _box_in_file(first: np.ndarray, last: np.ndarray, volume: CTVolume) -> Box3D:
    """Return the box from voxel first to last (z, y, x) in voxels of the file."""
    corners = volume.index_to_source(np.array([first - 0.5, last + 0.5]))
    (i0, j0, k0), (i1, j1, k1) = np.round(np.sort(corners, axis=0), 6).tolist()
    return Box3D((i0, j0, k0), (i1, j1, k1))


def signs_table(result: ScanResult) -> str:
    """Format the probabilities of all lung regions as lines of text."""
    lines = []
    for sign, regions in result.extras['signs'].items():
        lines.append(f'{sign}:')
        lines += [
            f'  {region:14} {values["mean"]:.2f}' for region, values in regions.items()
        ]
    return '\n'.join([*lines, f'{len(result.findings)} findings'])
