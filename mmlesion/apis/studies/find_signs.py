"""Pathological signs of one scan, with the files of a scan report."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mmengine.config import Config

from mmlesion.apis.scan_program import CaseOutputs, write_case
from mmlesion.ct import GRID_SHAPE, CTVolume, read_lung_mask
from mmlesion.files import counted
from mmlesion.scan import ScanResult
from mmlesion.scan.mask_findings import empty_result
from mmlesion.scan.reading import read_scan
from mmlesion.scan.sign_networks import projection_data
from mmlesion.scan.steps import FindSigns, ScanCase


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
    lung_labels: Sequence[int] | None = None,
) -> ScanResult:
    """Find pathological signs in one scan and write the findings.

    The scan needs no preparation: its lungs are segmented and projected in
    a temporary folder. :class:`mmlesion.scan.steps.FindSigns` describes the findings.

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
        lung_labels: Labels of lung in ``lung_mask``. Defaults to all labels.

    Returns:
        The findings; ``extras['signs']`` has the probabilities of all lung regions.

    Raises:
        FileNotFoundError: If the scan, the mask or a checkpoint does not exist.
        ValueError: If no lungs are found, the mask does not match, configs are
            not for signs, or a threshold is out of range or for an unknown sign.
    """
    projection_data(configs, checkpoints)  # raises an error if they do not match
    step = FindSigns(
        [dict(config=cfg, checkpoint=path) for cfg, path in zip(configs, checkpoints)],
        score_thr,
        sign_thrs,
        combination,
        grid_shape,
        lungs_required=True,
        device=device,
    )
    read = read_scan(scan)
    volume = read.volume
    case = ScanCase(volume, empty_result(read.path, volume, step.record, read.warnings))
    if lung_mask is not None:
        case.lung = read_lung_mask(lung_mask, volume, lung_labels)
    case.result.detection_grid = step.grid
    step(case)
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    outputs = outputs or CaseOutputs()
    if outputs.threshold is None:  # the page shows all findings
        outputs = replace(outputs, threshold=min(0.5, *step.thresholds.values()))
    write_case(out_dir, case, outputs)
    return case.result


def signs_table(result: ScanResult) -> str:
    """Format the probabilities of all lung regions as lines of text."""
    lines = []
    for sign, regions in result.extras['signs'].items():
        lines.append(f'{sign}:')
        lines += [
            f'  {region:14} {values["mean"]:.2f}' for region, values in regions.items()
        ]
    return '\n'.join([*lines, counted(len(result.findings), 'finding')])
