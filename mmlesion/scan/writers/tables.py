"""Findings as JSON, CSV, label map and markups for 3D Slicer."""

import os
from pathlib import Path
from typing import Any

from mmlesion.ct import CTVolume, write_itk_image
from mmlesion.files import write_csv_table, write_json

from ..finding import Finding, ScanResult
from ..finding_map import FindingMaps, label_array
from ..identity import Identity
from .source_grid import image_in_source

#: Columns of ``findings.csv``. Positions in mm are DICOM patient coordinates (x to
#: the left, y to the back, z to the head); i, j, k are voxels of the file.
FINDING_COLUMNS = (
    'id',
    'label',
    'score',
    'center_x_mm',
    'center_y_mm',
    'center_z_mm',
    'lower_i',
    'lower_j',
    'lower_k',
    'upper_i',
    'upper_j',
    'upper_k',
    'best_slice',
    'long_diameter_mm',
    'short_diameter_mm',
    'malignancy_probability',
    'volume_ml',
    'long_axis_mm',
    'short_axis_mm',
)
_MARKUPS_SCHEMA = (
    'https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/'
    'Resources/Schema/markups-schema-v1.0.3.json#'
)


def write_findings_json(
    path: str | os.PathLike, result: ScanResult, identity: Identity | None
) -> None:
    """Write ``findings.json``; its schema is documented in docs/findings.md.

    path: Output path.
    result: The findings.
    identity: Identity to remove; None removes nothing.
    """
    content = result.to_dict()
    if identity is not None:
        content = identity.remove(content)
    write_json(path, content, indent=1)


def write_findings_csv(path: str | os.PathLike, result: ScanResult) -> None:
    """Write one row per finding with :data:`FINDING_COLUMNS`."""
    write_csv_table(path, FINDING_COLUMNS, [_csv_row(each) for each in result.findings])


def _csv_row(finding: Finding) -> dict[str, Any]:
    outline = finding.extras.get('outline', {})
    x, y, z = (round(value, 3) for value in finding.center_mm)
    row = dict(
        id=finding.id,
        label=finding.label,
        score=round(finding.score, 6),
        center_x_mm=x,
        center_y_mm=y,
        center_z_mm=z,
        best_slice=finding.best_slice,
        long_diameter_mm=round(finding.long_diameter_mm, 3),
        short_diameter_mm=round(finding.short_diameter_mm, 3),
        malignancy_probability=finding.extras.get('classify', {}).get('probability'),
    )
    for end, corner in (('lower', finding.box.lower), ('upper', finding.box.upper)):
        row |= {f'{end}_{axis}': round(v, 3) for axis, v in zip('ijk', corner)}
    for name in ('volume_ml', 'long_axis_mm', 'short_axis_mm'):
        row[name] = outline.get(name)
    return row


def write_label_map(
    path: str | os.PathLike, volume: CTVolume, maps: FindingMaps
) -> None:
    """Write the outlines as a label map in the geometry of the scan's file.

    Args:
        path: A file ``.nii.gz``, ``.mha`` or ``.nrrd``.
        volume: The scan as :func:`mmlesion.ct.read_volume` returns it.
        maps: Masks of the findings; a voxel has the id of its finding.

    Raises:
        OSError: If the file cannot be written.
    """
    image = image_in_source(label_array(volume, maps), volume)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name('partial-' + path.name)
    try:
        write_itk_image(image, partial)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        reason = str(error).strip().splitlines()[-1]
        raise OSError(f'{path}: the label map cannot be written ({reason})') from None


def write_slicer_markups(path: str | os.PathLike, result: ScanResult) -> None:
    """Write the centers of the findings as a point list of 3D Slicer."""
    points = [
        dict(
            id=str(each.id),
            label=f'{each.id} ({each.score:.2f})',
            description=f'{each.label}, {each.long_diameter_mm:.1f} x '
            f'{each.short_diameter_mm:.1f} mm',
            associatedNodeID='',
            position=[round(value, 4) for value in each.center_mm],
            selected=True,
            locked=True,
            visibility=True,
            positionStatus='defined',
        )
        for each in result.findings
    ]
    markups = dict(
        type='Fiducial',
        coordinateSystem='LPS',
        coordinateUnits='mm',
        locked=True,
        labelFormat='%N-%d',
        controlPoints=points,
        measurements=[],
    )
    content = {'@schema': _MARKUPS_SCHEMA, 'markups': [markups]}
    write_json(path, content, indent=1)
