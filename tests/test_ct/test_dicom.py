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
