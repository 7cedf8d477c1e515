"""Enhanced multi-frame CT: frames are placed according to their functional groups."""

import copy
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from mmlesion.ct import CTVolume, choose_series, list_series, read_volume, write_volume
from mmlesion.scan.finding_map import FindingMap
from mmlesion.scan.writers import write_formats

highdicom = pytest.importorskip('highdicom')
pydicom = pytest.importorskip('pydicom')

ENHANCED = '1.2.840.10008.5.1.4.1.1.2.1'
ORDER = (3, 0, 5, 1, 4, 2)


def write_enhanced(folder, volume, order, change=None):
    """A series of files, converted by highdicom; then the frames are permuted."""
    parts = folder.with_name('parts')
    write_volume(parts, volume)
    slices = [pydicom.dcmread(path) for path in sorted(parts.iterdir())]
    shutil.rmtree(parts)
    for each in slices:
        for name in ('AccessionNumber', 'PatientBirthDate', 'PatientSex', 'StudyID'):
            setattr(each, name, '')
        each.PatientName = 'Anonymous^'
        each.ImageType = ['ORIGINAL', 'PRIMARY', 'AXIAL']
        each.StudyTime = '120000'
    uids = (pydicom.uid.generate_uid() for _ in range(2))
    file = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        slices, next(uids), 1, next(uids), 1
    )
    groups, pixels = file.PerFrameFunctionalGroupsSequence, file.pixel_array
    file.PerFrameFunctionalGroupsSequence = [groups[number] for number in order]
    file.PixelData = np.ascontiguousarray(pixels[list(order)]).tobytes()
    if change:
        change(file)
    folder.mkdir(exist_ok=True)
    path = folder / f'{file.SOPInstanceUID}.dcm'
    file.save_as(path)
    return path


@pytest.fixture
def volume():
    array = np.random.default_rng(0).integers(-1024, 3072, (6, 4, 5))
    return CTVolume(array.astype(np.int16), (2.5, 0.75, 0.5), (-10.0, 20.0, 30.0))


@pytest.mark.parametrize(
    'direction',
    [
        np.eye(3),
        np.diag([-1.0, -1, 1]),  # prone
        np.diag([-1.0, 1, -1]),  # slices from the head to the feet
        np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),  # coronal
        np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]),
    ],
)
def test_every_voxel_lies_where_highdicom_places_it(tmp_path, volume, direction):
    volume.direction = direction
    path = write_enhanced(tmp_path / 'series', volume, ORDER)
    read = read_volume(tmp_path / 'series')
    stock = highdicom.imread(path).get_volume()
    places = np.argwhere(np.ones(stock.spatial_shape))
    world = stock.map_indices_to_reference(places)
    index = read.world_to_index(world)
    np.testing.assert_allclose(index, np.rint(index), atol=1e-4)
    z, y, x = np.rint(index).astype(int).T
    np.testing.assert_array_equal(read.array[z, y, x], stock.array.ravel())
    assert read.array.size == len(places) and read.array.dtype == np.int16
    write_volume(tmp_path / 'single', volume)  # one file per slice
    single = read_volume(tmp_path / 'single')
    np.testing.assert_array_equal(read.array, single.array)
    np.testing.assert_allclose(read.origin, single.origin, atol=1e-6)
    assert sorted(read.source.slice_numbers) == [1, 2, 3, 4, 5, 6]
    assert set(read.source.slice_paths) == {str(path)}


def test_a_rescale_of_its_own_in_each_frame(tmp_path, volume):
    def change(file):
        file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = ENHANCED
        pixels = file.pixel_array.copy()
        (shared,) = file.SharedFunctionalGroupsSequence
        del shared.PixelValueTransformationSequence
        for number, groups in enumerate(file.PerFrameFunctionalGroupsSequence):
            pixels[number] += 10 * number
            rescale = pydicom.Dataset()
            rescale.RescaleSlope, rescale.RescaleIntercept = slope, -10 * number * slope
            rescale.RescaleType = 'HU'
            groups.PixelValueTransformationSequence = [rescale]
        file.PixelData = pixels.tobytes()

    slope = 1
    write_enhanced(tmp_path / 'series', volume, ORDER, change)
    np.testing.assert_array_equal(read_volume(tmp_path / 'series').array, volume.array)
    slope = 0.5
    write_enhanced(tmp_path / 'half', volume, ORDER, change)
    np.testing.assert_allclose(
        read_volume(tmp_path / 'half').array, volume.array / 2, atol=1e-3
    )


def test_frames_with_a_slope_of_zero_or_inverted_values(tmp_path, volume):
    def zero(file):
        (shared,) = file.SharedFunctionalGroupsSequence
        rescale = shared.PixelValueTransformationSequence
        del shared.PixelValueTransformationSequence
        for groups in file.PerFrameFunctionalGroupsSequence:
            groups.PixelValueTransformationSequence = copy.deepcopy(rescale)
        groups.PixelValueTransformationSequence[0].RescaleSlope = 0

    def invert(file):
        file.PhotometricInterpretation = 'MONOCHROME1'

    for change, said in ((zero, 'RescaleSlope'), (invert, 'MONOCHROME1')):
        path = write_enhanced(tmp_path / change.__name__, volume, ORDER, change)
        with pytest.raises(ValueError, match=said) as error:
            read_volume(path.parent)
        assert str(path) in str(error.value)


def test_a_series_of_one_file_is_listed_and_chosen(tmp_path, volume):
    write_volume(tmp_path / 'series', CTVolume(volume.array[:3], volume.spacing_mm))
    path = write_enhanced(tmp_path / 'series', volume, ORDER)
    uid, said = choose_series(tmp_path / 'series')
    assert uid == pydicom.dcmread(path).SeriesInstanceUID and '6 slices' in said
    assert sorted(each.num_slices for each in list_series(tmp_path / 'series')) == [
        3,
        6,
    ]


def scout(file):
    frame_type = file.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence
    for number, groups in enumerate(file.PerFrameFunctionalGroupsSequence):
        groups.CTImageFrameTypeSequence = copy.deepcopy(frame_type)
        if number == 1:
            kind = groups.CTImageFrameTypeSequence[0]
            kind.FrameType = ['ORIGINAL', 'PRIMARY', 'LOCALIZER', 'NONE']
    del file.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence


def test_a_scout_view_among_the_frames(tmp_path, volume):
    # Frame 2 is a slice at an end, so that it leaves no gap
    write_enhanced(tmp_path / 'series', volume, (1, 0, 2, 3, 4, 5), scout)
    read = read_volume(tmp_path / 'series')
    assert read.source.warnings[0].startswith('1 localizer image(s)')
    assert len(read.array) == 5 and 2 not in read.source.slice_numbers


def without_position(file):
    del file.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence


def two_phases(file):
    """Each slice at two times, as after a contrast agent."""
    groups = list(file.PerFrameFunctionalGroupsSequence)
    file.PerFrameFunctionalGroupsSequence = [*groups, *copy.deepcopy(groups)]
    file.PixelData, file.NumberOfFrames = file.PixelData * 2, 12


def turned(file):
    orientation = pydicom.Dataset()
    orientation.ImageOrientationPatient = [0, 1, 0, -1, 0, 0]
    groups = file.PerFrameFunctionalGroupsSequence[2]
    groups.PlaneOrientationSequence = [orientation]


def electron_density(file):
    (shared,) = file.SharedFunctionalGroupsSequence
    shared.PixelValueTransformationSequence[0].RescaleType = 'ED'


def without_groups(file):
    del file.PerFrameFunctionalGroupsSequence


def fewer_pixels(file):
    file.PixelData = file.PixelData[:-60]


@pytest.mark.parametrize(
    'change, message',
    [
        (without_position, 'frame 3: the slice has no position'),
        (two_phases, r'frame \d+ and .*frame \d+ have the same position'),
        (turned, 'frame .: the slice has another orientation'),
        (electron_density, "expected values in HU, but RescaleType is 'ED'"),
        (without_groups, 'functional groups for each of the 6 frames, .* has 0'),
        (fewer_pixels, 'frames cannot be decoded|damaged'),
    ],
)
def test_frames_that_make_no_volume(tmp_path, volume, change, message):
    write_enhanced(tmp_path / 'series', volume, ORDER, change)
    with pytest.raises(ValueError, match=message):
        read_volume(tmp_path / 'series')


def test_two_files_of_a_series(tmp_path, volume):
    first = pydicom.dcmread(write_enhanced(tmp_path / 'series', volume, ORDER))

    def later(file):
        file.SeriesInstanceUID = first.SeriesInstanceUID
        for groups in file.PerFrameFunctionalGroupsSequence:
            groups.PlanePositionSequence[0].ImagePositionPatient[2] += 15

    write_enhanced(tmp_path / 'series', volume, ORDER, later)
    with pytest.raises(ValueError, match='has 2 multi-frame files; expected one'):
        read_volume(tmp_path / 'series')


def test_segmentation_and_report_refer_to_the_frames(tmp_path, small_scan):
    original, result, _ = small_scan('oblique')
    order = np.random.default_rng(0).permutation(len(original.array))
    path = write_enhanced(tmp_path / 'series', original, order)
    volume = read_volume(tmp_path / 'series')
    maps = {}
    for number, value in ((1, 2000), (2, 2100)):
        places = np.argwhere(volume.array == value)
        low, high = places.min(0), places.max(0) + 1
        outline = FindingMap.at_voxels(np.ones(high - low, bool), tuple(low.tolist()))
        maps[number] = dict(outline=outline)
    result = replace(result, kind='dicom', grid=volume.source.grid)
    written = write_formats(tmp_path / 'out', result, volume, maps, ['dicom'])
    image = highdicom.imread(path)
    segmentation = highdicom.seg.segread(tmp_path / 'out' / 'findings.seg.dcm')
    frames = segmentation.get_pixels_by_source_frame(
        image.SOPInstanceUID, range(1, 17), assert_missing_frames_are_empty=True
    )
    for segment, value in ((0, 2000), (1, 2100)):
        marked = frames[..., segment].astype(bool)
        assert np.array_equal(marked, image.pixel_array == value)
    report = highdicom.sr.srread(tmp_path / 'out' / 'findings.sr.dcm')
    assert len(report.content.get_volumetric_roi_measurement_groups()) == 2
    if shutil.which('dcmftest'):
        for each in written:
            done = subprocess.run(['dcmftest', each], capture_output=True, text=True)
            assert done.stdout.startswith('yes:')
