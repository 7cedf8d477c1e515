"""Damaged files that ITK reads without an error, and implausible headers."""

import os
import struct

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mmlesion.ct import (
    CTVolume,
    read_radiograph,
    read_volume,
    volume_to_image,
    write_radiograph,
    write_volume,
)


@pytest.fixture
def volume():
    array = np.random.default_rng(0).integers(-1000, 400, (5, 24, 20))
    return CTVolume(array.astype(np.int16), (2.5, 0.7, 0.7), (-8.0, 9.0, -30.0))


def _write(path, volume, packed):
    sitk.WriteImage(volume_to_image(volume), str(path), packed)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize('name', ['a.mha', 'a.nrrd', 'a.nii.gz'])
def test_every_damaged_byte_of_packed_voxels_is_refused(tmp_path, volume, name):
    path = tmp_path / name
    whole = _write(path, volume, True)
    start = max(whole.find(b'LOCAL\n') + 6, whole.find(b'\n\n') + 2, 12)
    rng = np.random.default_rng(1)
    for place in rng.integers(start + 10, len(whole), 40):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=name):
            read_volume(path)


def test_damaged_radiographs_are_refused(tmp_path):
    path = tmp_path / 'a.mha'
    pixels = np.random.default_rng(0).integers(0, 4096, (32, 40)).astype(np.uint16)
    write_radiograph(path, pixels)
    whole = path.read_bytes()
    for place in range(whole.find(b'LOCAL\n') + 16, len(whole), 53):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(ValueError, match='a.mha'):
            read_radiograph(path)


@pytest.mark.parametrize(
    'place, value, message',
    [
        (80, struct.pack('<f', 0.0), 'voxel size .* must be positive'),
        (84, struct.pack('<f', np.nan), 'voxel size .* must be positive'),
        (88, struct.pack('<f', np.inf), 'voxel size .* must be positive'),
        (108, struct.pack('<f', np.inf), 'offset of the voxels'),
        (108, struct.pack('<f', 1e30), 'truncated'),
        (112, struct.pack('<f', np.nan), 'slope and intercept'),
        (344, b'ni1\0', 'magic number'),
        (344, b'xxxx', 'magic number'),
        (42, struct.pack('<3h', 32767, 32767, 32767), 'MMLESION_MAX_VOLUME_MIB'),
        (70, struct.pack('<2h', 16, 16), 'data type 16 of 16 bits'),
        (268, struct.pack('<f', 50.0), 'contradicts itself'),
        (80, struct.pack('<f', 0.9), r'contradicts itself|cannot be used'),
    ],
)
def test_a_nifti_header_that_cannot_be_meant(tmp_path, volume, place, value, message):
    path = tmp_path / 'a.nii'
    content = _write(path, volume, False)
    content[place : place + len(value)] = value
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_volume(path)
    assert 'a.nii' in str(error.value)


@pytest.mark.parametrize(
    'old, new, message',
    [
        (b'ElementSpacing', b'ElementSpacinh', 'damaged ElementSpacing'),
        (b'0.69999999999999996', b'0.0000000000000000', 'must be positive'),
        (b'DimSize = 20', b'DimSize = 10', 'more voxels than'),
        (b'DimSize = 20', b'DimSize = 90', 'truncated'),
        (b'DimSize = 20 24 5', b'DimSize = 99999999 99999 99', 'MMLESION_MAX_VOLUME'),
        (b'Offset = -8', b'Offset = na', 'finite'),
        (b'1 0 0 0 1 0 0 0 1', b'1 0 0 0 1 0 0 1e308 1', 'TransformMatrix'),
        (b'1 0 0 0 1 0 0 0 1', b'1 0 0 0 1 0 0 9 1', 'must be a rotation'),
        (b'MET_SHORT', b'MET_SHIRT', 'ElementType must be one of'),
        (b'= LOCAL', b'= ../x.raw', 'outside of its folder'),
        (b'= LOCAL', b'= /etc/hostname', 'outside of its folder'),
        (b'= LOCAL', b'= none.raw', 'no such file'),
        (
            b'TransformMatrix = 1 0 0 0 1 0 0 0 1\n',
            b'',
            'left and right of the patient',
        ),
    ],
)
def test_a_metaimage_header_that_cannot_be_meant(tmp_path, volume, old, new, message):
    (tmp_path / 'x.raw').write_bytes(bytes(9000))
    folder = tmp_path / 'data'
    folder.mkdir()
    content = bytes(_write(folder / 'a.mha', volume, False))
    assert old in content
    (folder / 'a.mha').write_bytes(content.replace(old, new, 1))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        read_volume(folder / 'a.mha')
    assert 'a.mha' in str(error.value)


@pytest.mark.parametrize(
    'old, new, message',
    [
        (b'sizes: 20', b'sizes: 10', 'more voxels than'),
        (b'endian: little\n', b'', 'endian'),
        (b'space: left-posterior-superior\n', b'', 'does not contain space'),
        (b'encoding: raw', b'encoding: hex', 'encoding must be raw or gzip'),
        (b'kinds:', b'data file: ../x.raw\nkinds:', 'outside of its folder'),
        (b'type: short', b'type: blob', 'type of integers'),
        (b'kinds:', b'space ' + b'x' * 5000 + b': 1\nkinds:', 'damaged at'),
        (b'kinds:', b'kindz:', "damaged at 'kindz"),
        (b'space directions: ', b'spacings: 1 1 1\n# ', 'left and right of the'),
    ],
)
def test_an_nrrd_header_that_cannot_be_meant(tmp_path, volume, old, new, message):
    (tmp_path / 'x.raw').write_bytes(bytes(9000))
    folder = tmp_path / 'data'
    folder.mkdir()
    content = bytes(_write(folder / 'a.nrrd', volume, False))
    assert old in content
    (folder / 'a.nrrd').write_bytes(content.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        read_volume(folder / 'a.nrrd')


def test_a_data_file_that_is_a_link_out_of_the_folder(tmp_path, volume):
    folder = tmp_path / 'data'
    folder.mkdir()
    _write(folder / 'a.mhd', volume, False)
    os.replace(folder / 'a.raw', tmp_path / 'secret.raw')
    (folder / 'a.raw').symlink_to(tmp_path / 'secret.raw')
    with pytest.raises(ValueError, match='outside of its folder'):
        read_volume(folder / 'a.mhd')


def _retag(series, number, **tags):
    pydicom = pytest.importorskip('pydicom')
    path = series / f'{number:04d}.dcm'
    data = pydicom.dcmread(path)
    for name, value in tags.items():
        if value is None:
            del data[name]
        else:
            setattr(data, name, value)
    data.save_as(path)


@pytest.mark.parametrize(
    'number, tags, message',
    [
        (2, dict(PixelSpacing=None), r'0002\.dcm: PixelSpacing .* absent'),
        (2, dict(PixelSpacing=[0, 0]), r'0002\.dcm: PixelSpacing'),
        (2, dict(PixelSpacing=[-1, -1]), r'0002\.dcm: PixelSpacing'),
        (2, dict(PixelSpacing=[1e30, 1e30]), r'0002\.dcm: PixelSpacing'),
        (2, dict(PixelSpacing=[0.9, 0.9]), r'0002\.dcm: PixelSpacing is .* but'),
        (
            3,
            dict(ImagePositionPatient=[-2.0, 9.0, -25.0]),
            r'0003\.dcm: the slice is moved in its plane by 6 mm',
        ),
        (
            3,
            dict(ImagePositionPatient=None),
            r'0003\.dcm: the slice has no position',
        ),
        (3, dict(Rows=65535, Columns=65535), 'MMLESION_MAX_SLICE_MPX|damaged|read'),
    ],
)
def test_a_dicom_slice_that_cannot_be_meant(tmp_path, volume, number, tags, message):
    write_volume(tmp_path / 'series', volume)
    _retag(tmp_path / 'series', number, **tags)
    with pytest.raises(ValueError, match=message):
        read_volume(tmp_path / 'series')


def test_missing_slices_at_an_end_are_told(tmp_path, volume):
    write_volume(tmp_path / 'series', volume)
    (tmp_path / 'series' / '0001.dcm').unlink()
    found = read_volume(tmp_path / 'series')
    assert any('first InstanceNumber is 2' in one for one in found.source.warnings)
