"""Volumes from and to files: every format gives the same voxels."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mmlesion.ct import CTVolume, read_volume, write_volume

CHEST = Path(__file__).resolve().parents[2].joinpath('../shared/data/chest_ct')
real = pytest.mark.skipif(
    not CHEST.is_dir(), reason='the real chest CT does not exist next to the project'
)


@pytest.fixture
def volume():
    array = np.random.default_rng(0).integers(-1024, 3072, (5, 6, 7))
    return CTVolume(array.astype(np.int16), (2.5, 0.75, 0.5), (-8, 9, -30.5))


@pytest.mark.parametrize('name', ['a.nii', 'a.nii.gz', 'a.mha', 'a.nrrd', 'series'])
def test_what_is_written_is_read(tmp_path, volume, name):
    write_volume(tmp_path / name, volume)
    read = read_volume(tmp_path / name)
    assert read.array.dtype == np.int16
    np.testing.assert_array_equal(read.array, volume.array)
    np.testing.assert_allclose(read.spacing_mm, volume.spacing_mm)
    np.testing.assert_allclose(read.origin, volume.origin)
    np.testing.assert_allclose(read.direction, np.eye(3), atol=1e-9)
    assert len(list(tmp_path.iterdir())) == 1  # nothing else is left


def test_fractions_of_hu_are_kept(tmp_path, volume):
    volume.array = volume.array + np.float32(0.25)
    write_volume(tmp_path / 'a.nrrd', volume)
    read = read_volume(tmp_path / 'a.nrrd')
    assert read.array.dtype == np.float32
    np.testing.assert_array_equal(read.array, volume.array)


@pytest.mark.parametrize('name', ['a.nii.gz', 'a.nrrd', 'a.mha', 'series'])
def test_any_orientation_is_read_as_axial_slices(tmp_path, volume, name):
    # The same body stored with columns to the head, rows to the right, slices
    # to the back: every axis is elsewhere, one is flipped
    turned = CTVolume(
        volume.array.transpose(1, 2, 0)[:, ::-1].copy(),
        (0.75, 0.5, 2.5),
        volume.index_to_world((0, 0, 6)),
        np.array([[0, -1, 0], [0, 0, 1], [1, 0, 0]]),
    )
    np.testing.assert_allclose(
        turned.index_to_world((2, 6 - 4, 3)), volume.index_to_world((3, 2, 4))
    )
    write_volume(tmp_path / name, turned)
    read = read_volume(tmp_path / name)
    np.testing.assert_array_equal(read.array, volume.array)
    np.testing.assert_allclose(read.spacing_mm, volume.spacing_mm, rtol=1e-6)
    np.testing.assert_allclose(read.origin, volume.origin, rtol=1e-6)


@real
def test_dicom_and_nrrd_of_one_real_scan_agree():
    dicom = read_volume(CHEST / 'dicom')
    nrrd = read_volume(CHEST / 'ct-64.nrrd')
    assert dicom.shape == (79, 64, 64) and dicom.array.dtype == np.int16
    assert (dicom.array.min(), dicom.array.max()) == (-1007, 1095)
    np.testing.assert_array_equal(dicom.array, nrrd.array)
    # The DICOM header rounds positions to 1 um
    np.testing.assert_allclose(dicom.spacing_mm, nrrd.spacing_mm, atol=1e-4)
    np.testing.assert_allclose(dicom.origin, nrrd.origin, atol=1e-3)
    np.testing.assert_allclose(dicom.direction, nrrd.direction, atol=1e-6)


@pytest.mark.parametrize('name', ['a.nii', 'a.nii.gz', 'a.mha', 'a.nrrd'])
@pytest.mark.parametrize('share', [0.1, 0.9])
def test_a_file_that_is_cut_off(tmp_path, volume, name, share):
    path = tmp_path / name
    write_volume(path, volume)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(
        ValueError, match=f'{name}: the (file is|content does not match)'
    ):
        read_volume(path)


def test_what_is_no_volume(tmp_path, volume):
    with pytest.raises(FileNotFoundError, match='none.nii'):
        read_volume(tmp_path / 'none.nii')
    (tmp_path / 'a.txt').write_text('x')
    with pytest.raises(ValueError, match='a.txt: expected the folder of a '):
        read_volume(tmp_path / 'a.txt')
    with pytest.raises(ValueError, match='expected a file .nii'):
        write_volume(tmp_path / 'a.png', volume)
    with pytest.raises(OSError, match='could not be written'):
        write_volume(tmp_path / 'none' / 'a.nii', volume)


def test_dicom_holds_16_bits(tmp_path, volume):
    volume.array = volume.array.astype(np.float32) + 40000
    with pytest.raises(ValueError, match='16-bit HU'):
        write_volume(tmp_path / 'series', volume)


@pytest.mark.parametrize('name', ['a.nii', 'a.nii.gz'])
def test_a_full_disk(tmp_path, volume, name, monkeypatch):
    """ITK writes a part of a NIfTI file without an error."""
    write = sitk.WriteImage

    def truncate(image, path, *args, **kwargs):
        write(image, path, *args, **kwargs)
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: len(content) // 2])

    monkeypatch.setattr(sitk, 'WriteImage', truncate)
    with pytest.raises(OSError, match=f'{name}: the volume could not be written'):
        write_volume(tmp_path / name, volume)
    assert list(tmp_path.iterdir()) == []


def test_an_affine_that_exchanges_rows_and_columns(tmp_path):
    """The sform differs from the qform only off the diagonal of a square slice."""
    nibabel = pytest.importorskip('nibabel')
    array = np.random.default_rng(0).integers(-900, 900, (8, 8, 4)).astype(np.int16)
    exchanged = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
    image = nibabel.Nifti1Image(array, exchanged)
    image.set_sform(exchanged, 2)
    image.set_qform(np.diag([1.0, 1, 2, 1]), 1)
    nibabel.save(image, tmp_path / 'a.nii')
    try:
        found = read_volume(tmp_path / 'a.nii')
    except ValueError as error:
        assert 'the affine is not supported' in str(error)
        return
    ras = nibabel.affines.apply_affine(exchanged, [6, 1, 2]) * (-1, -1, 1)
    place = tuple(np.rint(found.world_to_index(ras)).astype(int))
    assert found.array[place] == array[6, 1, 2]


def test_a_slope_of_0_with_an_intercept(tmp_path):
    nibabel = pytest.importorskip('nibabel')
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    nibabel.save(image, tmp_path / 'a.nii')
    content = bytearray((tmp_path / 'a.nii').read_bytes())
    content[112:120] = np.array([0, -1024], '<f4').tobytes()
    (tmp_path / 'a.nii').write_bytes(content)
    with pytest.raises(ValueError, match='slope is 0 and the intercept is -1024'):
        read_volume(tmp_path / 'a.nii')


@pytest.mark.parametrize(
    'suffix, old, new, message',
    [
        ('.mha', b'NDims = 3\n', b'DistanceUnits = cm\n', 'DistanceUnits must be mm'),
        (
            *('.mha', b'NDims = 3\n', b'ElementToIntensityFunctionOffset = -1024\n'),
            'ElementToIntensityFunctionOffset must be 0 or absent, but is .-1024',
        ),
        ('.nrrd', b'kinds:', b'space units: "um" "um" "um"\nkinds:', 'must be mm'),
        (
            *('.nrrd', b'left-posterior-superior', b'scanner-xyz'),
            'space must be one of .* but is .scanner-xyz',
        ),
    ],
)
def test_headers_with_other_units_or_spaces(
    tmp_path, volume, suffix, old, new, message
):
    path = tmp_path / f'a{suffix}'
    write_volume(path, volume)
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, old + new if suffix == '.mha' else new))
    with pytest.raises(ValueError, match=message):
        read_volume(path)
