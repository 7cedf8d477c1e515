"""Lung masks of other programs: formats, order of voxels, and errors."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mmlesion.ct import (
    LEFT_LUNG,
    RIGHT_LUNG,
    CTVolume,
    left_right_lungs,
    lung_mask,
    read_lung_mask,
    read_volume,
    write_volume,
)
from mmlesion.phantom import Patient, paint_anatomy
from mmlesion.phantom.body import Enhancement

STEP = np.array((8.0, 5.0, 4.5))
ORIGIN = (-200.0, -160.0, -700.0)


@pytest.fixture(scope='module')
def scan():
    """A generated chest with voxels of three different sides."""
    z, y, x = (
        np.arange(first, last, step)
        for (first, last), step in zip(((-40, 290), (-160, 160), (-200, 200)), STEP)
    )
    patient = Patient(np.random.default_rng(4))
    hu = paint_anatomy(z, y, x, patient, Enhancement(0.0)).hu[::-1]
    return CTVolume(np.rint(hu).astype(np.int16), STEP, ORIGIN)


@pytest.fixture(scope='module')
def lungs(scan):
    return lung_mask(scan)


def labels(scan, array):
    return CTVolume(
        array.astype(np.uint8), scan.spacing_mm, scan.origin, scan.direction
    )


@pytest.mark.parametrize('suffix', ['.nii.gz', '.nrrd', '.mha'])
def test_files_of_labels(scan, lungs, tmp_path, suffix):
    path = tmp_path / f'mask{suffix}'
    write_volume(path, labels(scan, left_right_lungs(lungs, scan)))  # like lungmask
    assert np.array_equal(read_lung_mask(path, scan), lungs)


def test_another_order_of_voxels(scan, lungs, tmp_path):
    write_volume(tmp_path / 'mask.nii.gz', labels(scan, lungs))
    image = sitk.ReadImage(str(tmp_path / 'mask.nii.gz'))
    sitk.WriteImage(sitk.DICOMOrient(image, 'SAR'), str(tmp_path / 'turned.nrrd'))
    assert np.array_equal(read_lung_mask(tmp_path / 'turned.nrrd', scan), lungs)


def test_lobes_of_totalsegmentator(scan, lungs, tmp_path):
    sides = left_right_lungs(lungs, scan)
    for name, side in (('left', LEFT_LUNG), ('right', RIGHT_LUNG)):
        path = tmp_path / f'lung_upper_lobe_{name}.nii.gz'
        write_volume(path, labels(scan, sides == side))
    write_volume(tmp_path / 'heart.nii.gz', labels(scan, ~lungs))
    write_volume(tmp_path / 'lung_lower_lobe_left.nii.gz', labels(scan, ~lungs & False))
    write_volume(tmp_path / 'lung_middle_lobe_right.nii', labels(scan, ~lungs & False))
    with pytest.raises(FileNotFoundError, match='but lung_lower_lobe_right is missing'):
        read_lung_mask(tmp_path, scan)
    write_volume(tmp_path / 'lung_lower_lobe_right.nii', labels(scan, ~lungs & False))
    assert np.array_equal(read_lung_mask(tmp_path, scan), lungs)
    many = np.where(sides == LEFT_LUNG, 10, 13 * (sides > 0))
    many[:, 0, :90] = np.arange(20, 110)[: many.shape[2]]
    write_volume(tmp_path / 'total.nii.gz', labels(scan, many))
    with pytest.raises(ValueError, match='92 labels|91 labels|labels; name those'):
        read_lung_mask(tmp_path / 'total.nii.gz', scan)
    found = read_lung_mask(tmp_path / 'total.nii.gz', scan, range(10, 15))
    assert np.array_equal(found, np.isin(many, (10, 13)))


def test_a_dicom_segmentation(scan, lungs, tmp_path):
    """Written by highdicom, which leaves out slices without lung."""
    highdicom = pytest.importorskip('highdicom')
    codes = pytest.importorskip('pydicom.sr.codedict').codes
    pydicom = pytest.importorskip('pydicom')
    write_volume(str(tmp_path / 'series'), scan)
    series = read_volume(tmp_path / 'series')
    files = series.source.slice_paths
    headers = [pydicom.dcmread(path) for path in files]
    for header in headers:
        for name in ('PatientID', 'PatientName', 'PatientBirthDate', 'PatientSex'):
            if name not in header:
                setattr(header, name, '')
        for name in ('AccessionNumber', 'StudyID', 'StudyDate', 'StudyTime'):
            if name not in header:
                setattr(header, name, '')
        if 'ReferringPhysicianName' not in header:
            header.ReferringPhysicianName = ''
    order = np.argsort([header.ImagePositionPatient[2] for header in headers])
    sides = left_right_lungs(lungs, scan)
    frames = np.zeros((len(headers), *scan.shape[1:]), np.uint8)
    frames[order] = sides
    descriptions = [
        highdicom.seg.SegmentDescription(
            number,
            name,
            codes.SCT.Organ,
            codes.SCT.Lung,
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in ((LEFT_LUNG, 'left lung'), (RIGHT_LUNG, 'right lung'))
    ]
    highdicom.seg.Segmentation(
        headers,
        frames,
        highdicom.seg.SegmentationTypeValues.BINARY,
        descriptions,
        highdicom.UID(),
        1,
        highdicom.UID(),
        1,
        'maker',
        'model',
        '1',
        '1',
    ).save_as(tmp_path / 'mask.dcm')
    assert np.array_equal(read_lung_mask(tmp_path / 'mask.dcm', series), lungs)
    left = (sides == LEFT_LUNG) & lungs
    with pytest.raises(ValueError, match='empty in the right lung'):
        read_lung_mask(tmp_path / 'mask.dcm', series, [LEFT_LUNG])
    assert left.any()
    with pytest.raises(ValueError, match='there are 1 left lung, 2 right lung'):
        read_lung_mask(tmp_path / 'mask.dcm', series, [7])
    moved = CTVolume(scan.array, scan.spacing_mm, (0, 0, 1.5))
    with pytest.raises(ValueError, match='not on the voxels of the scan'):
        read_lung_mask(tmp_path / 'mask.dcm', moved)
    with pytest.raises(ValueError, match='expected a DICOM segmentation'):
        read_lung_mask(files[0], series)


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda s, m, t: (m[1:], s.origin), 'another grid.*voxels'),
        (lambda s, m, t: (m, (0, 0, 0)), 'another grid.*corners lie up to 700.0 mm'),
        (lambda s, m, t: (m * 0, s.origin), 'the lung mask is empty'),
        (lambda s, m, t: (m * (t == LEFT_LUNG), s.origin), 'empty in the right lung'),
        (lambda s, m, t: (1 - m, s.origin), 'HU on average in the mask'),
        (lambda s, m, t: (s.array, s.origin), 'expected a mask with whole numbers'),
    ],
)
def test_masks_that_do_not_fit(scan, lungs, tmp_path, change, message):
    sides = left_right_lungs(lungs, scan)
    hu = np.where(lungs, scan.array, np.maximum(scan.array, 0))  # no air around
    whole = CTVolume(hu, scan.spacing_mm, scan.origin)
    array, origin = change(scan, lungs.astype(np.int16), sides)
    path = tmp_path / 'mask.nii.gz'
    write_volume(path, CTVolume(array, scan.spacing_mm, origin))
    with pytest.raises(ValueError, match=f'mask.nii.gz: .*{message}'):
        read_lung_mask(path, whole if 'HU' in message else scan)


def test_a_scan_not_in_hu_and_a_missing_file(scan, lungs, tmp_path):
    write_volume(tmp_path / 'mask.nii.gz', labels(scan, lungs))
    stored = CTVolume(scan.array + 1024, scan.spacing_mm, scan.origin)
    with pytest.raises(ValueError, match='or is the scan not in HU'):
        read_lung_mask(tmp_path / 'mask.nii.gz', stored)
    with pytest.raises(FileNotFoundError, match='no such file'):
        read_lung_mask(tmp_path / 'absent.nii.gz', scan)
