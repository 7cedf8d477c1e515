"""Findings and scan results through JSON."""

import json

import numpy as np
import pytest

from mmlesion.ct import CTVolume
from mmlesion.scan import Box3D, Finding, ScanResult, SliceBox, StepRecord


def result():
    volume = CTVolume(np.zeros((4, 5, 6)), (2.0, 0.5, 0.5), (10.0, 20.0, 30.0))
    box = Box3D((0.5, 1.5, 0.5), (3.5, 3.5, 2.5))
    record = StepRecord('detect', 'a.py', 'a.pth', 'ab12', dict(iou_thr=0.3))
    finding = Finding(
        id=1,
        score=0.75,
        box=box,
        center_mm=(11.0, 21.25, 33.0),
        box_mm=box.to_mm(volume.grid),
        best_slice=2,
        slices=[SliceBox(2, 0.75, Box3D((0.5, 1.5, 1.5), (3.5, 3.5, 2.5)))],
        long_diameter_mm=1.5,
        short_diameter_mm=1.0,
        provenance=[record],
    )
    return ScanResult(
        source='a.nii',
        kind='nifti',
        series_uid='',
        grid=volume.grid,
        slice_axis=2,
        field_of_view_mm=volume.grid.field_of_view_mm,
        largest_spacing_mm=2.0,
        detection_grid=dict(interval_mm=2.0),
        findings=[finding],
        warnings=['a warning'],
        provenance=[record],
    )


def test_a_result_through_json():
    before = result()
    before.findings[0].add(
        StepRecord('classify', 'b.py', 'b.pth', 'cd34'), dict(probability=0.5)
    )
    after = ScanResult.from_dict(json.loads(json.dumps(before.to_dict())))
    assert after == before
    assert after.findings[0].extras == {'classify': {'probability': 0.5}}
    assert [each.step for each in after.findings[0].provenance] == [
        'detect',
        'classify',
    ]


def test_a_step_that_runs_again_replaces_its_record():
    finding = result().findings[0]
    finding.add(StepRecord('classify', 'b.py'), dict(probability=0.5))
    finding.add(StepRecord('classify', 'c.py'), dict(probability=0.7))
    assert [each.config for each in finding.provenance] == ['a.py', 'c.py']
    assert finding.extras['classify'] == dict(probability=0.7)


def test_another_schema_version():
    values = dict(result().to_dict(), schema_version='2.0')
    with pytest.raises(ValueError, match='schema version 1.1, but the version is 2.0'):
        ScanResult.from_dict(values)
    with pytest.raises(ValueError, match='not the findings of a scan'):
        ScanResult.from_dict(dict(schema_version='1.0', findings=[]))


def test_a_box_in_mm_and_in_the_array():
    """Voxels 1-3, 2-3 and 1-2 of 0.5 x 0.5 x 2 mm from (10, 20, 30) on."""
    grid = result().grid
    box = Box3D((0.5, 1.5, 0.5), (3.5, 3.5, 2.5))
    assert box.to_mm(grid) == ((10.25, 20.75, 31.0), (11.75, 21.75, 35.0))
    assert box.center == (2.0, 2.5, 1.5)
    volume = CTVolume(np.zeros((4, 5, 6)), (2.0, 0.5, 0.5), (10.0, 20.0, 30.0))
    np.testing.assert_allclose(
        box.to_volume(volume), [(0.5, 1.5, 0.5), (2.5, 3.5, 3.5)]
    )
