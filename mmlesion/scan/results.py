"""Conversion of linked boxes to the result of a scan."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmlesion.ct import CTVolume
from mmlesion.ct.recist import box_margin_px
from mmlesion.datasets.transforms import ResizeToSpacing

from .finding import Box3D, Finding, ScanResult, SliceBox, StepRecord
from .key_slice_detection import KeySliceDetection
from .linking import LinkedBoxes, LinkOptions
from .reading import LoadedScan


def make_result(
    scan: LoadedScan,
    detection: KeySliceDetection,
    linked: Sequence[LinkedBoxes],
    options: LinkOptions,
    record: StepRecord,
    classes: Sequence[str] = (),
    warnings: Sequence[str] = (),
    froc: dict[str, Any] | None = None,
) -> ScanResult:
    """Convert linked boxes to voxels of the file and to mm.

    Args:
        scan: The scan after reading.
        detection: Detection in the key slices of the scan.
        linked: Linked boxes in descending order of score.
        options: The linking rule.
        record: Record of the detection step.
        classes: Names of the classes.
        warnings: Sentences that are added to the warnings of the scan.
        froc: FROC curve of the detector as a dictionary.
    """
    volume = detection.volume
    source = volume.source
    assert source is not None
    grid = source.grid
    slice_axis = int(
        np.abs(np.asarray(grid.direction).T @ volume.direction[:, 2]).argmax()
    )
    step = detection.keys.key_step_mm / detection.keys.spacing_mm
    margin_mm = _margin_mm(detection, options)
    findings = [
        _finding(number, each, volume, step, slice_axis, margin_mm, classes)
        for number, each in enumerate(linked, 1)
    ]
    for finding in findings:
        finding.provenance = [record]
    return ScanResult(
        source=scan.path,
        kind=source.kind,
        series_uid=source.series_uid,
        grid=grid,
        slice_axis=slice_axis,
        field_of_view_mm=grid.field_of_view_mm,
        largest_spacing_mm=max(grid.spacing_mm),
        detection_grid=_detection_grid(detection),
        findings=findings,
        slice_numbers=list(source.slice_numbers),
        warnings=[*scan.warnings, *warnings],
        provenance=[record],
        froc=froc,
    )


def _finding(
    number: int,
    linked: LinkedBoxes,
    volume: CTVolume,
    step: float,
    slice_axis: int,
    margin_mm: float,
    classes: Sequence[str],
) -> Finding:
    box = _box_in_file(linked.box, volume)
    grid = volume.source_grid
    slices: dict[int, SliceBox] = {}
    for position, corners, score in zip(linked.positions, linked.boxes, linked.scores):
        # Pixel n covers n to n + 1; a voxel with index n covers n - 0.5 to n + 0.5
        edges = np.array(
            [
                *(corners[:2] - 0.5),
                max(position - step / 2, -0.5),
                *(corners[2:] - 0.5),
                min(position + step / 2, volume.shape[0] - 0.5),
            ]
        )
        place = volume.index_to_source((position, corners[1], corners[0]))[slice_axis]
        index = int(np.clip(round(place), 0, grid.size[slice_axis] - 1))
        if index not in slices or slices[index].score < score:
            slices[index] = SliceBox(index, float(score), _box_in_file(edges, volume))
    best = max(slices.values(), key=lambda each: (each.score, -each.slice_index))
    x1, y1, x2, y2 = linked.boxes[linked.best]
    pixel_mm = volume.spacing_mm[1]
    sides_mm = [
        max(side * pixel_mm - 2 * margin_mm, pixel_mm) for side in (x2 - x1, y2 - y1)
    ]
    label = classes[linked.label] if linked.label < len(classes) else 'lesion'
    x, y, z = grid.index_to_world(box.center).tolist()
    return Finding(
        id=number,
        score=linked.score,
        box=box,
        center_mm=(x, y, z),
        box_mm=box.to_mm(grid),
        best_slice=best.slice_index,
        slices=sorted(slices.values(), key=lambda each: each.slice_index),
        long_diameter_mm=max(sides_mm),
        short_diameter_mm=min(sides_mm),
        label=label,
    )


def _margin_mm(detection: KeySliceDetection, options: LinkOptions) -> float:
    """Return the margin of the boxes in mm.

    The detector has learned the margin in pixels of its training images. The pixels of
    the scan may have another size.
    """
    margin = options.box_margin_px
    margin = box_margin_px(None) if margin is None else margin
    pixel_mm = detection.volume.spacing_mm[1]
    for step in detection.pipeline.rest.transforms:
        if isinstance(step, ResizeToSpacing):
            return margin * step.spacing_mm
    return margin * pixel_mm


def _box_in_file(edges: np.ndarray, volume: CTVolume) -> Box3D:
    """Convert a box (x1, y1, z1, x2, y2, z2) of the array to voxels of the file."""
    corners = volume.index_to_source(np.stack([edges[2::-1], edges[:2:-1]]))
    corners = np.round(np.sort(corners, axis=0), 6)  # rounding errors of the affine
    (i0, j0, k0), (i1, j1, k1) = corners.tolist()
    return Box3D((i0, j0, k0), (i1, j1, k1))


def _detection_grid(detection: KeySliceDetection) -> dict[str, Any]:
    keys = detection.keys
    crop = detection.crop_box
    return dict(
        key_slices=len(detection),
        key_slice_step_mm=keys.key_step_mm,
        num_slices=keys.num_slices,
        interval_mm=keys.interval_mm,
        interpolation=keys.interpolation,
        pipeline=[_plain(step) for step in detection.pipeline.steps[1:]],
        crop='slice' if crop is None else [int(value) for value in crop],
        shared_features=detection.share,
    )


def _plain(value: Any) -> Any:
    """Convert values of a config to JSON types."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
