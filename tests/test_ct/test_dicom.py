"""DICOM folders: series, and errors of incomplete or mixed folders."""

import locale
import shutil

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mmlesion.ct import CTVolume, read_volume, write_volume


@pytest.fixture
def volume():
    array = np.random.default_rng(0).integers(-1024, 3072, (6, 4, 5))
    return CTVolume(array.astype(np.int16), (2.5, 0.75, 0.5))


@pytest.fixture
def folder(tmp_path, volume):
    write_volume(tmp_path / 'series', volume)
    return tmp_path / 'series'


def change(path, tag, value):
    before = sitk.ReadImage(str(path))
    image = before[:, :, 0]
    for key in before.GetMetaDataKeys():
        image.SetMetaData(key, before.GetMetaData(key))
    image.SetMetaData(tag, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(path))
    character_set = locale.setlocale(locale.LC_CTYPE)
    writer.Execute(image)
    locale.setlocale(locale.LC_CTYPE, character_set)  # GDCM sets C


def test_order_is_that_of_positions_not_of_names(folder, volume):
    for number in range(1, 7):
        (folder / f'{number:04d}.dcm').rename(folder / f'x{7 - number}.dcm')
    np.testing.assert_array_equal(read_volume(folder).array, volume.array)


def test_a_missing_slice(folder):
    (folder / '0003.dcm').unlink()
    with pytest.raises(
        ValueError,
        match=r'0002.dcm and 0004.dcm are 5 mm '
        r'apart, but the other slices 2.5 mm; slices are miss',
    ):
        read_volume(folder)


def test_a_slice_that_is_there_twice(folder):
    shutil.copy(folder / '0003.dcm', folder / 'copy.dcm')
    with pytest.raises(ValueError, match='have the same position'):
        read_volume(folder)


def test_two_series(tmp_path, folder, volume):
    write_volume(tmp_path / 'other', volume)
    for path in (tmp_path / 'other').iterdir():
        shutil.copy(path, folder / f'other{path.name}')
    with pytest.raises(ValueError, match='2 DICOM series .* series_uid') as error:
        read_volume(folder)
    uid = str(error.value).split()[-1]
    np.testing.assert_array_equal(
        read_volume(folder, series_uid=uid).array, volume.array
    )
    with pytest.raises(ValueError, match='no series 1.2.3'):
        read_volume(folder, series_uid='1.2.3')


@pytest.mark.parametrize('size', [300, -60])
def test_a_slice_that_is_cut_off(folder, size):
    path = folder / '0006.dcm'  # at an end it would leave no gap
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match='0006.dcm: the DICOM file is damaged'):
        read_volume(folder)


def test_other_files_do_not_matter(folder, volume):
    (folder / 'LICENSE.txt').write_text('text')
    (folder / 'notes').mkdir()
    np.testing.assert_array_equal(read_volume(folder).array, volume.array)


def test_another_modality(folder):
    change(folder / '0002.dcm', '0008|0060', 'MR')
    with pytest.raises(ValueError, match="0002.dcm: .*'CT', but it is 'MR'"):
        read_volume(folder)


def test_no_series_and_no_empty_folder(tmp_path, folder, volume):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='no DICOM series'):
        read_volume(tmp_path / 'empty')
    with pytest.raises(FileExistsError, match='empty folder'):
        write_volume(folder, volume)


def test_a_tilted_gantry(folder):
    for number in range(1, 7):
        change(
            folder / f'{number:04d}.dcm', '0020|0032', f'0\\{number}\\{2.5 * number}'
        )
    with pytest.raises(ValueError, match='tilted gantry'):
        read_volume(folder)


def test_a_small_tilt_of_a_long_scan(tmp_path):
    """At 2 degrees, the last of 60 slices is 4 mm off."""
    array = np.zeros((60, 4, 4), np.int16)
    write_volume(tmp_path / 'long', CTVolume(array, (2.0, 0.75, 0.75)))
    assert read_volume(tmp_path / 'long').shape == (60, 4, 4)
    shift = np.tan(np.deg2rad(2)) * 2
    for number in range(60):
        path = tmp_path / 'long' / f'{number + 1:04d}.dcm'
        change(path, '0020|0032', f'0\\{shift * number:.4f}\\{2 * number}')
    with pytest.raises(ValueError, match='sheared .* by 4.12 mm .*tilted gantry'):
        read_volume(tmp_path / 'long')


def test_steps_that_change_within_a_scan(tmp_path):
    array = np.zeros((60, 4, 4), np.int16)
    write_volume(tmp_path / 'long', CTVolume(array, (1.0, 0.75, 0.75)))
    for number in range(60):
        place = number + 0.1 * max(0, number - 30)
        change(
            tmp_path / 'long' / f'{number + 1:04d}.dcm', '0020|0032', f'0\\0\\{place}'
        )
    with pytest.raises(ValueError, match='0031.dcm: .* 1.4.* mm from its place'):
        read_volume(tmp_path / 'long')


def test_slices_with_different_rescaling(folder):
    pydicom = pytest.importorskip('pydicom')
    expected = []
    for number in range(1, 7):
        path = folder / f'{number:04d}.dcm'
        header = pydicom.dcmread(path)
        stored = header.pixel_array
        if number == 1:  # as unsigned numbers without an intercept
            header.PixelRepresentation = 0
            header.PixelData = np.abs(stored).astype(np.uint16).tobytes()
            expected.append(np.abs(stored))
        else:
            header.RescaleIntercept, header.RescaleSlope = -1000, 0.5 * (1 + number % 2)
            expected.append(stored * float(header.RescaleSlope) - 1000)
        header.save_as(path)
    np.testing.assert_allclose(read_volume(folder).array, expected, atol=1e-3)


def test_inverted_values(folder):
    pydicom = pytest.importorskip('pydicom')
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        header.PhotometricInterpretation = 'MONOCHROME1'
        header.save_as(path)
    with pytest.raises(ValueError, match='MONOCHROME2, but it is MONOCHROME1'):
        read_volume(folder)


@pytest.mark.parametrize('content', [b'', b'x' * 100, bytes(4000)])
def test_an_unreadable_file_at_the_end(folder, content):
    (folder / '0006.dcm').write_bytes(content)
    with pytest.raises(ValueError, match='0006.dcm: .* damaged, truncated or empty'):
        read_volume(folder)


def test_a_report_beside_the_slices(folder, volume):
    pydicom = pytest.importorskip('pydicom')
    report = pydicom.dcmread(folder / '0001.dcm')
    for name in ('PixelData', 'Rows', 'Columns'):
        del report[name]
    uid = '1.2.840.10008.5.1.4.1.1.88.33'
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = uid
    report.Modality, report.SeriesInstanceUID = 'SR', '1.2.3'
    report.save_as(folder / 'report.dcm')
    np.testing.assert_array_equal(read_volume(folder).array, volume.array)


def test_an_error_while_writing_leaves_nothing(tmp_path, volume, monkeypatch):
    write = sitk.ImageFileWriter.Execute

    def fail(writer, *args):
        if writer.GetFileName().endswith('0004.dcm'):
            raise RuntimeError('no space')
        return write(writer, *args)

    monkeypatch.setattr(sitk.ImageFileWriter, 'Execute', fail)
    with pytest.raises(OSError, match='series: the slices could not be written'):
        write_volume(tmp_path / 'series', volume)
    assert list(tmp_path.iterdir()) == []


def test_writing_leaves_the_locale_alone(tmp_path, volume):
    # GDCM sets it to C, after which Python would take text for ASCII
    before = locale.setlocale(locale.LC_CTYPE)
    write_volume(tmp_path / 'series', volume)
    read_volume(tmp_path / 'series')
    assert locale.setlocale(locale.LC_CTYPE) == before


def test_the_distance_of_slices_is_written_also_after_reading(tmp_path, volume):
    pydicom = pytest.importorskip('pydicom')
    for name in ('first', 'second'):  # GDCM keeps a state that reading changes
        write_volume(str(tmp_path / name), volume)
        read_volume(tmp_path / name)
        for path in (tmp_path / name).iterdir():
            header = pydicom.dcmread(path)
            assert float(header.SpacingBetweenSlices) == pytest.approx(
                volume.spacing_mm[0]
            )
            assert float(header.SliceThickness) == pytest.approx(volume.spacing_mm[0])
