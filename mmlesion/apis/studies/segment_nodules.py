"""Nodules of one scan, outlined by a NAM network, with the files of a scan report."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import init_default_scope
from scipy import ndimage
from tqdm import tqdm

from mmlesion.apis.scan_program import CaseOutputs, write_case
from mmlesion.ct import CTVolume, read_labels, read_lung_mask
from mmlesion.ct.lung_crop import crop_plane, place_crop
from mmlesion.engine.trained_model import load_trained_model
from mmlesion.files import counted
from mmlesion.registry import type_name
from mmlesion.scan import ScanResult, StepRecord
from mmlesion.scan.finding_map import FindingMap, label_array
from mmlesion.scan.mask_findings import empty_result, finding_of_mask, outline_values
from mmlesion.scan.reading import read_scan
from mmlesion.scan.steps import ScanCase, checkpoint_sha256, config_sha256
from mmlesion.version import __version__

_OUTSIDE_HU = -1024  # air


@dataclass
class SegmentOptions:
    """Options of :func:`segment_nodules`.

    Attributes:
        size: Sides in pixels of the square around the lungs. Defaults to ``size`` of
            ``scan_slices`` in the config.
        zoom: Magnification of the slices, a whole number. Defaults to ``zoom`` of
            ``scan_slices`` in the config.
        score_thr: Smallest probability of a slice whose nodules are kept. Defaults to
            ``positive_thr`` of the config, or 0.5.
        min_slices: Smallest number of neighboring slices of a nodule.
        max_gap: Largest number of slices without a mask inside a nodule. They are
            filled with the overlap of the masks above and below.
        lung_labels: Labels of lung in the lung mask, see
            :func:`mmlesion.ct.read_lung_mask`.
        device: Defaults to the GPU, if there is one.
        progress: Show a progress bar.

    Raises:
        ValueError: If a number is out of range.
    """

    size: int | None = None
    zoom: int | None = None
    score_thr: float | None = None
    min_slices: int = 2
    max_gap: int = 1
    lung_labels: Sequence[int] | None = None
    device: str | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if self.score_thr is not None and not 0 <= self.score_thr <= 1:
            raise ValueError(f'score_thr must be in [0, 1], but is {self.score_thr}')
        if self.max_gap < 0:
            raise ValueError(f'max_gap must be 0 or more, but is {self.max_gap}')
        for name in ('size', 'zoom', 'min_slices'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f'{name} must be 1 or more, but is {value}')

    def geometry(self, cfg: Config) -> tuple[int, int]:
        """Side of the square in pixels of the scan, and magnification.

        Raises:
            ValueError: If neither the options nor the config name them.
        """
        found = cfg.get('scan_slices') or {}
        size, zoom = self.size or found.get('size'), self.zoom or found.get('zoom')
        if not size or not zoom:
            raise ValueError(
                f'{cfg.filename}: expected scan_slices = dict(size=..., zoom=...), or '
                'size and zoom'
            )
        return -(-size // zoom), zoom


def segment_nodules(
    scan: str | os.PathLike[str] | CTVolume,
    cfg: Config,
    checkpoint: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    options: SegmentOptions | None = None,
    truth: str | os.PathLike[str] | None = None,
    outputs: CaseOutputs | None = None,
    lung_mask: str | os.PathLike[str] | None = None,
) -> ScanResult:
    """Outline the nodules of one scan and write them as findings.

    Each slice with lung is cropped as in the preparation of the training data and
    segmented by the network. Masks of neighboring slices that touch or overlap are
    joined to one nodule, also across ``max_gap`` slices without a mask. Its score is
    the largest probability of its slices. ``extras['outline']`` has volume and axes.

    Args:
        scan: DICOM folder or file, see :func:`mmlesion.ct.read_volume`, or a volume.
        cfg: Config of a :class:`mmlesion.models.NAMSegmentor`.
        checkpoint: Checkpoint of the network.
        out_dir: Folder of the results.
        options: Crop and thresholds.
        truth: Label file of the true nodules on the grid of the scan. The 3-D Dice of
            all nodules together, and of each true nodule with the findings that touch
            it, is stored in ``extras['truth']``.
        outputs: Files to write. Defaults to JSON, CSV and a label map.
        lung_mask: Lung mask of another program, see
            :func:`mmlesion.ct.read_lung_mask`. Computed by default.

    Returns:
        Findings in descending order of score.

    Raises:
        FileNotFoundError: If the scan, the truth or the checkpoint does not exist.
        ValueError: If the config is of another model, the scan shows no lungs, the
            truth is on another grid, or the lung mask does not match the scan.
    """
    options = options or SegmentOptions()
    if type_name(cfg.model) != 'NAMSegmentor':
        raise ValueError(
            f'{cfg.filename}: expected the config of a NAMSegmentor, but its model is '
            f'{cfg.model.type}'
        )
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    side, zoom = options.geometry(cfg)
    read = read_scan(scan)
    volume = read.volume
    known = None if truth is None else read_labels(truth, volume).array
    model: Any = load_trained_model(cfg, checkpoint, options.device)
    if options.score_thr is not None:
        model.positive_thr = options.score_thr
    model.chance_radius_px = None  # baselines of the test
    pipeline = Compose(cfg.test_dataloader.dataset.pipeline[1:])
    record = _record(cfg, checkpoint, model, options, lung_mask is not None)
    corner, with_lung, doubts = _place(volume, side, lung_mask, options.lung_labels)
    case = ScanCase(
        volume, empty_result(read.path, volume, record, [*read.warnings, *doubts])
    )
    mask = np.zeros(volume.shape, bool)
    scores = np.zeros(len(mask))
    run = _SliceRun(model, pipeline, volume, corner, side, zoom)
    bar = tqdm(with_lung, desc='Segmenting', unit='slice', disable=not options.progress)
    for number in bar:
        scores[number], mask[number] = run(number)
    fill_gaps(mask, options.max_gap)
    _add_findings(case, mask, scores, options.min_slices, record)
    if known is not None:
        case.result.extras['truth'] = _compare(label_array(volume, case.maps), known)
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    write_case(out_dir, case, outputs or CaseOutputs(title='Lung nodules'))
    return case.result


def _record(
    cfg: Config,
    checkpoint: str | os.PathLike[str],
    model: Any,
    options: SegmentOptions,
    given_mask: bool,
) -> StepRecord:
    """Return the provenance of the findings."""
    side, zoom = options.geometry(cfg)
    return StepRecord(
        'nodules',
        config=Path(cfg.filename or '').name,
        config_sha256=config_sha256(cfg),
        checkpoint=Path(checkpoint).name,
        checkpoint_sha256=checkpoint_sha256(checkpoint),
        settings=dict(
            size=side * zoom,
            zoom=zoom,
            score_thr=0.5 if model.positive_thr is None else model.positive_thr,
            min_slices=options.min_slices,
            max_gap=options.max_gap,
            lung_mask='given' if given_mask else 'built-in',
        ),
        version=__version__,
    )


def _place(
    volume: CTVolume,
    side: int,
    lung_mask: str | os.PathLike[str] | None,
    labels: Sequence[int] | None,
) -> tuple[tuple[int, int], Sequence[int], list[str]]:
    """Return the corner of the crop, the slices with lung, and doubts."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        lung = None if lung_mask is None else read_lung_mask(lung_mask, volume, labels)
        corner, with_lung = place_crop(volume, side, lung, always_check=True)
    return corner, with_lung, list(dict.fromkeys(str(one.message) for one in caught))


def nodule_table(result: ScanResult) -> str:
    """Format position, axes and volume of the nodules, one line each."""
    lines = []
    for each in result.findings:
        outline = each.extras['outline']
        x, y, z = each.center_mm
        lines.append(
            f'{each.id}: {each.score:.2f}  {outline["long_axis_mm"]:.1f} x '
            f'{outline["short_axis_mm"]:.1f} mm, {outline["volume_ml"]:.3f} ml, '
            f'{counted(len(each.slices), "slice")}, at ({x:.1f}, {y:.1f}, {z:.1f}) mm'
        )
    truth = result.extras.get('truth')
    if truth:
        lines.append(f'3-D Dice of all nodules: {truth["dice"]:.3f}')
        lines += [
            f'  true nodule {name}: {value:.3f}'
            for name, value in truth['nodules'].items()
        ]
    return '\n'.join([*lines, counted(len(result.findings), 'nodule')])


@dataclass
class _SliceRun:
    """Network applied to slices of a scan, cropped and magnified."""

    model: Any
    pipeline: Compose
    volume: CTVolume
    corner: tuple[int, int]
    side: int
    zoom: int

    @torch.no_grad()
    def __call__(self, number: int) -> tuple[float, np.ndarray]:
        """Return probability and mask (H, W) of a slice; the mask may be empty."""
        hu = np.rint(self.volume.array[number])
        cut = crop_plane(hu, self.corner, self.side, _OUTSIDE_HU).astype(np.float32)
        large = cv2.resize(cut, None, fx=self.zoom, fy=self.zoom)
        packed: Any = self.pipeline(
            dict(img=large[..., None], img_shape=large.shape, ori_shape=large.shape)
        )
        (sample,) = self.model.test_step(
            dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
        )
        plane = np.zeros(self.volume.shape[1:], bool)
        score = float(sample.pred_score[self.model.positive])
        if sample.nodule_masks:
            found = np.any([np.asarray(each) for each in sample.nodule_masks], 0)
            share = cv2.resize(
                found.astype(np.float32), cut.shape, interpolation=cv2.INTER_AREA
            )
            _paste(plane, share >= 0.5, self.corner)
        return score, plane


def _paste(plane: np.ndarray, square: np.ndarray, corner: tuple[int, int]) -> None:
    """Copy the part of a square that is inside a plane, in place."""
    y, x = corner
    target = plane[max(y, 0) : y + len(square), max(x, 0) : x + len(square)]
    top, left = max(-y, 0), max(-x, 0)
    target[:] = square[top : top + target.shape[0], left : left + target.shape[1]]


def fill_gaps(mask: np.ndarray, max_gap: int) -> None:
    """Fill voxels between masks of the same place in slices above and below.

    Args:
        mask: Mask of all slices, which is changed in place.
        max_gap: Largest number of slices to fill.

    Shape:
        - mask: (D, H, W), bool
    """
    seen = mask.copy()
    for gap in range(1, max_gap + 1):
        both = seen[: -gap - 1] & seen[gap + 1 :]
        for step in range(1, gap + 1):
            mask[step : step + len(both)] |= both


def _add_findings(
    case: ScanCase,
    mask: np.ndarray,
    scores: np.ndarray,
    min_slices: int,
    record: StepRecord,
) -> None:
    """Join masks of neighboring slices and number them in descending order of score."""
    labels = np.empty(mask.shape, np.int32)
    ndimage.label(mask, np.ones((3, 3, 3)), output=labels)
    parts = []
    for index, box in enumerate(ndimage.find_objects(labels), 1):
        if box[0].stop - box[0].start >= min_slices:
            own = labels[box] == index
            parts.append((float(scores[box[0]].max()), int(own.sum()), box, own))
    parts.sort(key=lambda part: (-part[0], -part[1]))
    for number, (score, _, box, own) in enumerate(parts, 1):
        z, y, x = (side.start for side in box)
        outline = FindingMap.at_voxels(own, (z, y, x))
        finding = finding_of_mask(
            number, 'nodule', score, case.volume, outline, scores[box[0]].tolist()
        )
        finding.add(record, {})
        finding.extras['outline'] = dict(
            method='nam', **outline_values(finding, case.volume, own)
        )
        case.maps[number] = dict(outline=outline)
        case.result.findings.append(finding)


def _compare(found: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """3-D Dice of all nodules, and of each with the findings that touch it."""
    nodules = {}
    for number in np.unique(truth[truth > 0]).tolist():
        own = truth == number
        touching = np.unique(found[own & (found > 0)])
        nodules[str(number)] = _dice(np.isin(found, touching) & (found > 0), own)
    return dict(dice=_dice(found > 0, truth > 0), nodules=nodules)


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    total = int(one.sum()) + int(other.sum())
    return round(2 * int((one & other).sum()) / total, 5) if total else 1.0
