"""Findings that are defined by masks instead of boxes of a detector."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull
from skimage.measure import find_contours

from mmlesion.ct import CTVolume

from .finding import Box3D, Finding, ScanResult, SliceBox, StepRecord
from .finding_map import FindingMap


def empty_result(
    path: str, volume: CTVolume, record: StepRecord, warnings: Sequence[str] = ()
) -> ScanResult:
    """Return the result of a scan without findings.

    Args:
        path: Path of the scan.
        volume: The scan as :func:`mmlesion.ct.read_volume` returns it.
        record: Record of the step that adds findings later.
        warnings: Sentences on repairs and assumptions.
    """
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
        detection_grid=dict(record.settings),
        findings=[],
        slice_numbers=list(source.slice_numbers),
        warnings=list(warnings),
        provenance=[record],
    )


def finding_of_mask(
    number: int,
    label: str,
    score: float,
    volume: CTVolume,
    outline: FindingMap,
    slice_scores: Sequence[float],
) -> Finding:
    """Describe a mask by boxes in voxels of the file, positions and diameters.

    Args:
        number: ``id`` of the finding.
        label: Name of the class.
        score: Score in [0, 1].
        volume: The scan.
        outline: Mask with a value for each voxel of a box of the volume.
        slice_scores: Score of each layer of the mask. Layers without a voxel of the
            mask are omitted.
    """
    mask = outline.values > 0
    start = np.rint(np.asarray(outline.lower) + 0.5).astype(int)
    grid, axis = volume.source_grid, _slice_axis(volume)
    slices = []
    for layer, plane in enumerate(mask):
        if not plane.any():
            continue
        rows, columns = np.nonzero(plane)
        low = np.array((layer, rows.min(), columns.min())) + start
        high = np.array((layer, rows.max(), columns.max())) + start
        index = int(round(float(volume.index_to_source(low)[axis])))
        box = _box_in_file(low, high, volume)
        slices.append(SliceBox(index, float(slice_scores[layer]), box))
    box = _box_in_file(start, start + mask.shape - 1, volume)
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
        label=label,
    )


def outline_values(finding: Finding, volume: CTVolume, mask: np.ndarray) -> dict:
    """Return values for ``extras['outline']``, as in the step ``OutlineFindings``.

    Shape:
        - mask: (D, H, W) bool
    """
    voxel_ml = float(np.prod(volume.spacing_mm)) / 1000
    values: dict[str, Any] = dict(
        volume_ml=round(int(mask.sum()) * voxel_ml, 4),
        long_axis_mm=round(finding.long_diameter_mm, 3),
        short_axis_mm=round(finding.short_diameter_mm, 3),
        num_voxels=int(mask.sum()),
    )
    return values


def mask_axes_mm(
    mask: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[float, float]:
    """Measure the long and short axis of a mask in its largest slice.

    The long axis is the largest distance between two points of the outline, which runs
    between the pixels. The short axis is the extent perpendicular to it.

    Args:
        mask: Not empty.
        spacing_mm: Voxel size (z, y, x).

    Shape:
        - mask: (D, H, W).

    Returns:
        Lengths in mm.
    """
    plane = mask[int(mask.sum(axis=(1, 2)).argmax())]
    outlines = find_contours(np.pad(plane, 1).astype(float), 0.5)
    points = np.concatenate(outlines) * spacing_mm[1:]
    hull = points[ConvexHull(points).vertices]
    apart = np.linalg.norm(hull[:, None] - hull[None], axis=-1)
    a, b = np.unravel_index(int(apart.argmax()), apart.shape)
    along = (hull[b] - hull[a]) / apart[a, b]
    across = hull @ np.array([-along[1], along[0]])
    return float(apart.max()), float(across.max() - across.min())


def _slice_axis(volume: CTVolume) -> int:
    """Return the axis of the file along which the axial slices lie."""
    ways = np.asarray(volume.source_grid.direction).T @ volume.direction[:, 2]
    return int(np.abs(ways).argmax())


def _box_in_file(first: np.ndarray, last: np.ndarray, volume: CTVolume) -> Box3D:
    """Return the box from ``first`` to ``last`` (z, y, x) in voxels of the file."""
    corners = volume.index_to_source(np.array([first - 0.5, last + 0.5]))
    (i0, j0, k0), (i1, j1, k1) = np.round(np.sort(corners, axis=0), 6).tolist()
    return Box3D((i0, j0, k0), (i1, j1, k1))
