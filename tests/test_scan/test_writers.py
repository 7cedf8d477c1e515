"""Findings in other formats, read back by the stock tools of each format."""

import csv
import json
import shutil
import subprocess
from dataclasses import replace

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from mmlesion.ct import CTVolume, read_labels, read_volume, volume_to_image
from mmlesion.ct.dicom import write_dicom_image
from mmlesion.scan import Box3D, ScanResult
from mmlesion.scan.finding_map import FindingMap, box_ellipsoid
from mmlesion.scan.identity import Identity
from mmlesion.scan.report import write_page
from mmlesion.scan.writers import array_in_source, write_formats

PATIENT = 'Quimby^Jaquelle'
DIRECTIONS = ('mirrored', 'permuted', 'oblique')


def scan_from_file(path, small_scan):
    """Volume as it is read, and result and masks of its two bright blocks."""
    volume = read_volume(path)
    _, result, _ = small_scan()
    findings, maps = [], {}
    for each, value in zip(result.findings, (2000, 2100)):
        places = np.argwhere(volume.array == value)
        low, high = places.min(0), places.max(0) + 1
        corners = volume.index_to_source([low - 0.5, high - 0.5])
        box = Box3D(*(tuple(one) for one in np.sort(corners, axis=0).tolist()))
        center = tuple(volume.source_grid.index_to_world(box.center).tolist())
        findings.append(
            replace(
                each, box=box, center_mm=center, box_mm=box.to_mm(volume.source_grid)
            )
        )
        maps[each.id] = dict(
            outline=FindingMap.at_voxels(np.ones(high - low, bool), tuple(low.tolist()))
        )
    findings[1].extras['outline'] = dict(
        volume_ml=0.21, long_axis_mm=7.5, short_axis_mm=4.25, method='NAM'
    )
    source = volume.source
    result = replace(
        result,
        source=str(path),
        kind=source.kind,
        series_uid=source.series_uid,
        grid=source.grid,
        findings=findings,
        warnings=[f'{path}: a warning'],
    )
    return volume, result, maps


@pytest.fixture
def dicom_scan(tmp_path, small_scan):
    """A mirrored DICOM series of a patient whose name is also in its path."""
    volume, _, _ = small_scan('mirrored')
    folder = tmp_path / 'Jaquelle' / 'series'
    write_dicom_image(str(folder), volume_to_image(volume), patient=PATIENT)
    return scan_from_file(folder, small_scan)


@pytest.mark.parametrize('direction', DIRECTIONS)
def test_label_map_and_positions_fit_the_file_that_nibabel_reads(
    direction, tmp_path, small_scan
):
    original = small_scan(direction)[0]
    sitk.WriteImage(volume_to_image(original), str(tmp_path / 'scan.nii.gz'))
    volume, result, maps = scan_from_file(tmp_path / 'scan.nii.gz', small_scan)
    write_formats(
        tmp_path / 'out', result, volume, maps, ('json', 'csv', 'nifti', 'slicer')
    )
    scan = nibabel.load(tmp_path / 'scan.nii.gz')
    labels = nibabel.load(tmp_path / 'out' / 'findings.nii.gz')
    assert np.allclose(labels.affine, scan.affine, atol=1e-5)
    stored, hu = np.asarray(labels.dataobj), np.asarray(scan.dataobj)
    assert np.array_equal(stored == 1, hu == 2000)
    assert np.array_equal(stored == 2, hu == 2100)
    with open(tmp_path / 'out' / 'findings.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    markups = json.loads((tmp_path / 'out' / 'findings.mrk.json').read_text())
    points = markups['markups'][0]['controlPoints']
    for row, point, value in zip(rows, points, (2000, 2100)):
        places = np.argwhere(hu == value)
        ras = nibabel.affines.apply_affine(scan.affine, places.mean(0))
        lps = ras * (-1, -1, 1)
        assert np.allclose(
            [float(row[f'center_{axis}_mm']) for axis in 'xyz'], lps, atol=2e-3
        )
        assert np.allclose(point['position'], lps, atol=2e-3)
        lower = [float(row[f'lower_{axis}']) for axis in 'ijk']
        assert np.allclose(lower, places.min(0) - 0.5, atol=1e-3)
    assert rows[1]['volume_ml'] == '0.21' and rows[0]['volume_ml'] == ''
    content = json.loads((tmp_path / 'out' / 'findings.json').read_text())
    assert ScanResult.from_dict(content).findings[1].box.lower == pytest.approx(lower)


def test_segmentation_marks_the_lesion_in_each_source_image(tmp_path, dicom_scan):
    highdicom = pytest.importorskip('highdicom')
    volume, result, maps = dicom_scan
    write_formats(tmp_path / 'out', result, volume, maps, ['dicom'])
    segmentation = highdicom.seg.segread(tmp_path / 'out' / 'findings.seg.dcm')
    assert segmentation.PatientName == PATIENT
    series = [pydicom.dcmread(path) for path in volume.source.slice_paths]
    assert segmentation.StudyInstanceUID == series[0].StudyInstanceUID
    found = 0
    for image in series:
        hu = image.pixel_array * image.RescaleSlope + image.RescaleIntercept
        bright = np.stack([hu == 2000, hu == 2100], axis=-1)
        if not bright.any():
            continue
        frames = segmentation.get_pixels_by_source_instance(
            [image.SOPInstanceUID], assert_missing_frames_are_empty=True
        )
        assert np.array_equal(frames[0].astype(bool), bright)
        found += 1
    assert found == 6
    described = segmentation.get_segment_description(2)
    assert described.SegmentLabel == 'Finding 2'
    assert described.segmented_property_type.value == '52988006'  # SNOMED: lesion


def test_structured_report_tells_measurements_and_refers_to_the_images(
    tmp_path, dicom_scan
):
    highdicom = pytest.importorskip('highdicom')
    volume, result, maps = dicom_scan
    write_formats(tmp_path / 'out', result, volume, maps, ['dicom'])
    report = highdicom.sr.srread(tmp_path / 'out' / 'findings.sr.dcm')
    assert report.PatientID == PATIENT
    groups = report.content.get_volumetric_roi_measurement_groups()
    values = [
        {each.name.value: each.value for each in group.get_measurements()}
        for group in groups
    ]
    long_axis, short_axis, volume_code = '103339001', '103340004', '118565006'
    certainty, cancer = '111012', '111047'
    assert values[0] == {long_axis: 6, short_axis: 5, certainty: 70, cancer: 80}
    assert values[1][long_axis] == 7.5 and values[1][volume_code] == 0.21
    segmentation = pydicom.dcmread(tmp_path / 'out' / 'findings.seg.dcm')
    for number, group in enumerate(groups, start=1):
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert segment.referenced_segment_numbers[0] == number
    referenced = {
        image.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for image in series.ReferencedSOPSequence
    }
    headers = [pydicom.dcmread(path) for path in volume.source.slice_paths]
    bright = {
        each.SOPInstanceUID for each in headers if (each.pixel_array > 1999).any()
    }
    assert referenced == bright | {segmentation.SOPInstanceUID}


@pytest.mark.skipif(
    not shutil.which('dsrdump'), reason='needs dcmtk (Debian: apt-get install dcmtk)'
)
def test_dcmtk_accepts_both_files(tmp_path, dicom_scan):
    pytest.importorskip('highdicom')
    volume, result, maps = dicom_scan
    written = write_formats(tmp_path / 'out', result, volume, maps, ['dicom'])
    for path in written:
        done = subprocess.run(['dcmftest', path], capture_output=True, text=True)
        assert done.stdout.startswith('yes:')
    done = subprocess.run(
        ['dsrdump', tmp_path / 'out' / 'findings.sr.dcm'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and 'Imaging Measurement Report' in done.stdout
    assert done.stderr == ''


def test_a_single_finding(tmp_path, dicom_scan):
    highdicom = pytest.importorskip('highdicom')
    volume, result, maps = dicom_scan
    one = replace(result, findings=result.findings[:1])
    written = write_formats(tmp_path / 'out', one, volume, maps, ['dicom'])
    assert [path.name for path in written] == ['findings.seg.dcm', 'findings.sr.dcm']
    assert one.warnings == result.warnings
    segmentation = highdicom.seg.segread(written[0])
    assert segmentation.number_of_segments == 1
    assert read_labels(written[0], volume).array.sum() == (volume.array == 2000).sum()
    # A later run without findings removes both
    none = replace(result, findings=[])
    assert write_formats(tmp_path / 'out', none, volume, {}, ['dicom']) == []
    assert list((tmp_path / 'out').iterdir()) == []


def test_without_findings_no_dicom_file_is_written(tmp_path, dicom_scan):
    pytest.importorskip('highdicom')
    volume, result, _ = dicom_scan
    empty = replace(result, findings=[])
    written = write_formats(tmp_path / 'out', empty, volume, {}, ['dicom', 'nifti'])
    assert [path.name for path in written] == ['findings.nii.gz']
    assert not sitk.GetArrayFromImage(sitk.ReadImage(str(written[0]))).any()


def test_the_patient_is_told_only_where_the_standard_asks(tmp_path, dicom_scan):
    volume, result, maps = dicom_scan
    formats = ['json', 'csv', 'nifti', 'slicer']
    write_formats(tmp_path / 'out', result, volume, maps, formats)
    write_page(tmp_path / 'out' / 'page.html', result, volume, maps)
    for path in (tmp_path / 'out').iterdir():
        content = path.read_bytes().lower()
        assert b'jaquelle' not in content and b'quimby' not in content, path.name
    write_formats(tmp_path / 'kept', result, volume, maps, ['json'], keep_identity=True)
    assert 'Jaquelle' in (tmp_path / 'kept' / 'findings.json').read_text()


def test_an_error_in_the_report_leaves_no_segmentation(
    tmp_path, dicom_scan, monkeypatch
):
    dicom = pytest.importorskip('mmlesion.scan.writers.dicom')

    def report(*args):
        raise TypeError('no report')

    monkeypatch.setattr(dicom, '_report', report)
    volume, result, maps = dicom_scan
    assert write_formats(tmp_path / 'out', result, volume, maps, ['dicom']) == []
    assert 'DICOM SEG and SR cannot be written' in result.warnings[-1]
    assert not list(tmp_path.glob('out/*.dcm'))


def edit_headers(folder, **values):
    """Set DICOM attributes of all slices; None deletes an attribute."""
    for path in folder.glob('*.dcm'):
        header = pydicom.dcmread(path)
        for name, value in values.items():
            if value is None:
                del header[name]
            else:
                header[name] = pydicom.DataElement(
                    header[name].tag, header[name].VR, value, validation_mode=0
                )
        header.save_as(path)


@pytest.mark.parametrize(
    'values',
    [
        dict(SliceThickness=None),
        dict(SliceThickness=''),
        dict(PatientBirthDate='1950/01/02'),
    ],
)
def test_incomplete_headers(tmp_path, dicom_scan, small_scan, values):
    pytest.importorskip('highdicom')
    folder = tmp_path / 'Jaquelle' / 'series'
    edit_headers(folder, **values)
    volume, result, maps = scan_from_file(folder, small_scan)
    written = write_formats(tmp_path / 'out', result, volume, maps, ['dicom'])
    assert [path.name for path in written] == ['findings.seg.dcm', 'findings.sr.dcm']
    segmentation = pydicom.dcmread(written[0])
    assert segmentation.PatientBirthDate == ''
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SliceThickness) == pytest.approx(volume.spacing_mm[0])


def test_findings_are_kept_if_the_header_prevents_dicom(
    tmp_path, dicom_scan, small_scan
):
    pytest.importorskip('highdicom')
    folder = tmp_path / 'Jaquelle' / 'series'
    edit_headers(folder, FrameOfReferenceUID=None)
    volume, result, maps = scan_from_file(folder, small_scan)
    write_formats(tmp_path / 'out', result, volume, maps, ['dicom', 'json'], True)
    found = json.loads((tmp_path / 'out' / 'findings.json').read_text())
    assert len(found['findings']) == 2
    assert 'attribute FrameOfReferenceUID is missing' in found['warnings'][-1]
    assert not list((tmp_path / 'out').glob('*.dcm'))


@pytest.mark.parametrize(
    ('name', 'characters', 'texts'),
    [
        ('Li^Wu', None, ['/x/Li_Wu/ct', '/x/wuli/ct', 'Wu, Li', '/x/LI^WU']),
        ('Müller^Jörg', 'ISO_IR 100', ['Müller', 'x/MULLER/1', 'a_mueller_b', 'JÖRG']),
        ('Müller^Jörg', 'ISO_IR 192', ['Müller', 'joergmueller']),
        ('Quimby^Jaquelle', None, ['/x/QuimbyJaquelle/ct', 'jaquelle2', 'quimby_1']),
        ('Wang^XiaoDong=王^小東', 'ISO_IR 192', ['王小東', '小東', 'WangXiaodong']),
    ],
)
def test_forms_of_a_name(tmp_path, dicom_scan, name, characters, texts):
    folder = tmp_path / 'Jaquelle' / 'series'
    for path in folder.glob('*.dcm'):
        header = pydicom.dcmread(path)
        if characters:
            header.SpecificCharacterSet = characters
        header.PatientName = name
        header.save_as(path)
    identity = Identity.of_path(folder)
    for text in texts:
        assert identity.is_in(text), text
    for text in ('/data/ct/scan_0001', 'Light', 'the spacing differs', '1.2.840.10008'):
        assert not identity.is_in(text), text


def test_dicom_files_need_a_dicom_scan(tmp_path, small_scan):
    pytest.importorskip('highdicom')
    sitk.WriteImage(volume_to_image(small_scan()[0]), str(tmp_path / 'scan.nii'))
    volume, result, maps = scan_from_file(tmp_path / 'scan.nii', small_scan)
    with pytest.raises(ValueError, match='need a DICOM series as input'):
        write_formats(tmp_path / 'out', result, volume, maps, ['dicom'])
    with pytest.raises(ValueError, match="unknown format 'pdf'"):
        write_formats(tmp_path / 'out', result, volume, maps, ['pdf'])


def test_voxels_of_a_resampled_volume_are_not_written(tmp_path, small_scan):
    sitk.WriteImage(volume_to_image(small_scan()[0]), str(tmp_path / 'scan.nii'))
    volume = read_volume(tmp_path / 'scan.nii')
    halved = CTVolume(
        volume.array[::2],
        (5.0, 1.0, 1.0),
        volume.origin,
        volume.direction,
        volume.source,
    )
    with pytest.raises(ValueError, match='resampled'):
        array_in_source(halved.array, halved)


def test_ellipsoid_of_a_box_fills_it_and_is_never_empty():
    whole = box_ellipsoid(np.array([-0.5, 1.5, 2.5]), np.array([9.5, 21.5, 32.5]))
    assert whole.lower == (-0.5, 1.5, 2.5) and whole.upper == (9.5, 21.5, 32.5)
    volume = 4 / 3 * np.pi * 5 * 10 * 15
    assert whole.values.sum() == pytest.approx(volume, rel=0.03)
    tiny = box_ellipsoid(np.array([3.1, 4.1, 5.1]), np.array([3.2, 4.2, 5.2]))
    assert tiny.values.sum() == 1 and tiny.lower == (2.5, 3.5, 4.5)
