"""Bad and unusual scans: one clear sentence, or a documented outcome."""

import gzip
import locale
import shutil
import struct
import zlib

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

from mmlesion.ct import CTVolume, choose_series, list_series, read_volume, write_volume


@pytest.fixture
def volume():
    array = np.random.default_rng(0).integers(-1024, 3072, (6, 4, 5))
    return CTVolume(array.astype(np.int16), (2.5, 0.75, 0.5))


@pytest.fixture
def folder(tmp_path, volume):
    write_volume(tmp_path / 'series', volume)
    return tmp_path / 'series'


def edit(folder, change, names='*.dcm'):
    """Apply a function to the data set of each file."""
    for number, path in enumerate(sorted(folder.glob(names))):
        dataset = pydicom.dcmread(path)
        change(dataset, number)
        dataset.save_as(path)


def patient(name):
    def change(dataset, number):
        dataset.PatientID = name

    return change


def modality(name):
    def change(dataset, number):
        dataset.Modality = name

    return change


def add_series(folder, tmp_path, volume, change=None):
    write_volume(tmp_path / 'other', volume)
    if change:
        edit(tmp_path / 'other', change)
    for path in (tmp_path / 'other').iterdir():
        shutil.move(path, folder / f'other{path.name}')


def test_two_patients_in_one_folder(tmp_path, folder, volume):
    add_series(folder, tmp_path, volume, patient('Secret'))
    with pytest.raises(ValueError, match='belong to 2 patients') as error:
        choose_series(folder)
    assert 'Secret' not in str(error.value) and 'Anonymous' not in str(error.value)


def test_two_patients_in_one_series(folder):
    edit(folder, patient('Secret'), '0003.dcm')
    with pytest.raises(ValueError, match='name different patients') as error:
        read_volume(folder)
    assert 'Secret' not in str(error.value)


def test_the_largest_axial_ct_is_chosen(tmp_path, folder, volume):
    """Beside it: a larger MR and a larger coronal CT."""
    large = np.zeros((9, 8, 8), np.int16)
    coronal = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    add_series(folder, tmp_path, CTVolume(large, (1, 1, 1)), modality('MR'))
    shutil.rmtree(tmp_path / 'other')
    write_volume(tmp_path / 'third', CTVolume(large, (1, 1, 1), direction=coronal))
    for path in (tmp_path / 'third').iterdir():
        shutil.move(path, folder / f'third{path.name}')
    assert len(list_series(folder)) == 3
    uid, said = choose_series(folder)
    np.testing.assert_array_equal(read_volume(folder, uid).array, volume.array)
    assert '3 DICOM series were found and the largest axial CT was read' in said


def test_a_localizer_among_the_slices(folder, volume):
    def localizer(dataset, number):
        dataset.ImageType = ['ORIGINAL', 'PRIMARY', 'LOCALIZER']
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        dataset.SOPInstanceUID = generate_uid()

    shutil.copy(folder / '0001.dcm', folder / 'scout.dcm')
    edit(folder, localizer, 'scout.dcm')
    read = read_volume(folder)
    np.testing.assert_array_equal(read.array, volume.array)
    assert read.source.warnings == ('1 localizer image(s) of the series were ignored',)


def test_unsorted_numbers_and_names(folder, volume):
    """Positions count; numbers of the slices are kept."""

    def change(dataset, number):
        dataset.InstanceNumber = 60 - 10 * number

    edit(folder, change)
    read = read_volume(folder)
    np.testing.assert_array_equal(read.array, volume.array)
    assert read.source.slice_numbers == (60, 50, 40, 30, 20, 10)


def test_varying_spacing(folder):
    def change(dataset, number):
        dataset.ImagePositionPatient = [0, 0, 2.5 * number + (1.2 if number > 3 else 0)]

    edit(folder, change)
    with pytest.raises(ValueError, match='slices are missing or unevenly spaced'):
        read_volume(folder)


def test_a_compressed_transfer_syntax(tmp_path):
    array = np.random.default_rng(0).integers(-1024, 3072, (3, 64, 64))
    write_volume(tmp_path / 'series', CTVolume(array.astype(np.int16)))
    edit(tmp_path / 'series', lambda dataset, number: dataset.compress(RLELossless))
    first = pydicom.dcmread(tmp_path / 'series' / '0001.dcm')
    assert first.file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read_volume(tmp_path / 'series').array, array)


@pytest.mark.parametrize('compressor', ['JPEG', 'JPEG2000'])
def test_a_lossless_jpeg(tmp_path, compressor):
    array = np.random.default_rng(0).integers(-1024, 3072, (3, 64, 64))
    write_volume(tmp_path / 'series', CTVolume(array.astype(np.int16)))
    for path in map(str, (tmp_path / 'series').iterdir()):
        before = sitk.ReadImage(path)
        image = before[:, :, 0]
        for key in before.GetMetaDataKeys():
            image.SetMetaData(key, before.GetMetaData(key))
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetUseCompression(True)
        writer.SetCompressor(compressor)
        writer.SetFileName(path)
        character_set = locale.setlocale(locale.LC_CTYPE)
        writer.Execute(image)
        locale.setlocale(locale.LC_CTYPE, character_set)  # GDCM sets C
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read_volume(tmp_path / 'series').array, array)


def test_enhanced_multi_frame_ct(folder):
    def change(dataset, number):
        dataset.NumberOfFrames = 3
        dataset.PixelData = dataset.PixelData * 3

    edit(folder, change)
    with pytest.raises(ValueError, match='holds 3 frames .*convert it'):
        read_volume(folder)


def test_a_color_secondary_capture(folder):
    def change(dataset, number):
        dataset.SamplesPerPixel = 3
        dataset.PhotometricInterpretation = 'RGB'
        dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, dataset.PixelRepresentation = 7, 0
        dataset.PixelData = bytes(4 * 5 * 3)

    edit(folder, change)
    with pytest.raises(ValueError, match='one value per pixel'):
        read_volume(folder)


@pytest.mark.parametrize('name', ['MR', 'PT'])
def test_another_modality(folder, name):
    edit(folder, modality(name))
    with pytest.raises(ValueError, match=f"expected modality 'CT', but it is '{name}'"):
        read_volume(folder)


def without_rescale(dataset, number):
    for name in ('RescaleIntercept', 'RescaleSlope', 'RescaleType'):
        if name in dataset:
            delattr(dataset, name)


def test_stored_values_without_rescale(tmp_path, folder, volume):
    """Values down to -1024 are taken as HU, and the result says so; others not."""
    edit(folder, without_rescale)
    read = read_volume(folder)
    np.testing.assert_array_equal(read.array, volume.array)
    assert (
        'no RescaleIntercept; the stored values were taken as HU'
        in (read.source.warnings[0])
    )
    volume.array = volume.array + np.int16(1024)
    write_volume(tmp_path / 'stored', volume)
    edit(tmp_path / 'stored', without_rescale)
    with pytest.raises(ValueError, match='so they are not in HU'):
        read_volume(tmp_path / 'stored')
    edit(folder, lambda d, n: setattr(d, 'RescaleIntercept', 0), '0002.dcm')
    edit(folder, lambda d, n: setattr(d, 'RescaleSlope', 1), '0002.dcm')
    with pytest.raises(ValueError, match='5 of 6 slices have no RescaleIntercept'):
        read_volume(folder)


def test_a_rescale_slope_of_0(folder):
    edit(folder, lambda d, n: setattr(d, 'RescaleSlope', 0), '0003.dcm')
    with pytest.raises(ValueError, match="0003.dcm: RescaleSlope must .* but is '0"):
        read_volume(folder)


def test_a_rescale_of_its_own_in_each_slice(folder, volume):
    def change(dataset, number):
        values = dataset.pixel_array.astype(np.int32) + 100 * number
        dataset.PixelData = values.astype(np.int16).tobytes()
        dataset.RescaleIntercept = -100 * number
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian

    edit(folder, change)
    np.testing.assert_array_equal(read_volume(folder).array, volume.array)


def nifti(path, affine=None, array=None):
    array = np.zeros((3, 4, 5), np.int16) if array is None else array
    image = nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine)
    nibabel.save(image, path)
    return path


def with_nan(dtype):
    """ITK reads NaN in NIfTI as 0 HU."""
    array = np.full((30, 40, 50), -1000, dtype)
    array[0, 0, 0], array[-1, -1, -1] = np.nan, np.inf
    return array


def sheared():
    affine = np.eye(4)
    affine[0, 2] = 0.3
    return affine


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(array=np.zeros((3, 4, 5, 2), np.int16)), 'one value per voxel'),
        (dict(array=with_nan(np.float32)), '2 voxels are NaN or infinite'),
        (dict(array=with_nan(np.float64)), '2 voxels are NaN or infinite'),
        (dict(affine=sheared()), 'not perpendicular|sheared'),
    ],
)
def test_bad_nifti(tmp_path, arguments, message):
    path = nifti(tmp_path / 'a.nii.gz', **arguments)
    with pytest.raises(ValueError, match=message):
        read_volume(path)


def test_a_broken_affine(tmp_path):
    """A column of zeros in the sform, which nibabel cannot write."""
    path = nifti(tmp_path / 'a.nii')
    content = bytearray(path.read_bytes())
    struct.pack_into('<12f', content, 280, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    path.write_bytes(content)
    with pytest.raises(ValueError, match='a.nii: '):
        read_volume(path)


def test_a_nifti_without_orientation(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), None)
    nibabel.save(image, tmp_path / 'a.nii')
    with pytest.raises(ValueError, match='left and right of the patient are unknown'):
        read_volume(tmp_path / 'a.nii')


def test_a_mirrored_affine_is_read_in_place(tmp_path):
    """Left-handed: x and z flipped; the bright voxel keeps its position."""
    array = np.zeros((3, 4, 5), np.int16)
    array[0, 1, 4] = 900
    affine = np.diag([-1.0, 1, -2, 1])
    affine[:3, 3] = 5, -6, 7
    read = read_volume(nifti(tmp_path / 'a.nii', affine, array))
    (found,) = np.argwhere(read.array == 900)
    x, y, z, _ = affine @ (0, 1, 4, 1)
    np.testing.assert_allclose(read.index_to_world(found), (-x, -y, z), atol=1e-5)
    np.testing.assert_allclose(read.index_to_source(found), (0, 1, 4), atol=1e-5)


def test_a_file_that_is_no_image(tmp_path):
    (tmp_path / 'a.nii').write_text('no image' * 100)
    (tmp_path / 'a.nrrd').write_bytes(bytes(1000))
    for name in ('a.nii', 'a.nrrd'):
        with pytest.raises(ValueError, match=f'{name}: '):
            read_volume(tmp_path / name)


def test_a_gzip_bomb(tmp_path):
    """Far more bytes than the header announces are not unpacked."""
    path = nifti(tmp_path / 'a.nii.gz')
    content = gzip.decompress(path.read_bytes())
    with gzip.open(path, 'wb', compresslevel=1) as file:
        file.write(content)
        for _ in range(64):
            file.write(bytes(1 << 20))
    with pytest.raises(ValueError, match='a.nii.gz: .*more'):
        read_volume(path)


@pytest.mark.parametrize('suffix', ['.nrrd', '.mha'])
def test_a_compressed_file_with_too_many_voxels(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    image = sitk.GetImageFromArray(np.full((4, 16, 16), -1000, np.int16))
    sitk.WriteImage(image, str(path), useCompression=True)
    content = path.read_bytes()
    packed = gzip.compress if suffix == '.nrrd' else zlib.compress
    voxels = packed(bytes(64 << 20))
    if suffix == '.nrrd':
        head = content[: content.index(b'\n\n') + 2]
    else:
        head = content[: content.index(b'ElementDataFile')]
        lines = [
            each for each in head.splitlines() if b'CompressedDataSize' not in each
        ]
        lines += [b'CompressedDataSize = %d' % len(voxels), b'ElementDataFile = LOCAL']
        head = b'\n'.join(lines) + b'\n'
    path.write_bytes(head + voxels)
    with pytest.raises(ValueError, match=f'a{suffix}: '):
        read_volume(path)


def test_a_scan_of_three_slices(tmp_path):
    volume = CTVolume(np.full((3, 8, 8), -1000, np.int16), (5, 1, 1))
    write_volume(tmp_path / 'series', volume)
    assert read_volume(tmp_path / 'series').shape == (3, 8, 8)
