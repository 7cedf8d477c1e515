"""Radiographs to files and back."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mmlesion.ct import read_radiograph, write_radiograph

PIXELS = np.arange(12, dtype=np.uint16).reshape(3, 4)


def test_written_and_read(tmp_path):
    path = tmp_path / 'n0001.mha'
    write_radiograph(path, PIXELS, 0.35)
    pixels = read_radiograph(path)
    assert pixels.dtype == np.float32 and np.array_equal(pixels, PIXELS)
    assert sitk.ReadImage(str(path)).GetSpacing() == (0.35, 0.35)
    assert [each.name for each in tmp_path.iterdir()] == ['n0001.mha']


def test_a_volume_of_one_slice_is_a_plane(tmp_path):
    path = str(tmp_path / 'a.mha')
    sitk.WriteImage(sitk.GetImageFromArray(PIXELS[None]), path)
    assert np.array_equal(read_radiograph(path), PIXELS)


def test_bad_files_are_told(tmp_path):
    path = tmp_path / 'a.mha'
    with pytest.raises(FileNotFoundError, match='a.mha: no such file'):
        read_radiograph(path)
    path.write_text('no picture')
    with pytest.raises(
        ValueError, match='a.mha: the content does not match the suffix'
    ):
        read_radiograph(path)
    for pixels, message in (
        (np.zeros((2, 3, 4), np.uint8), r'one plane .* shape is \(2, 3, 4\)'),
        (np.full((3, 4), np.nan, np.float32), 'NaN or infinite'),
    ):
        sitk.WriteImage(sitk.GetImageFromArray(pixels), str(path))
        with pytest.raises(ValueError, match=message):
            read_radiograph(path)
    with pytest.raises(OSError, match='could not write'):
        write_radiograph(tmp_path / 'absent' / 'a.mha', PIXELS)
