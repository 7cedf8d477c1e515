"""Slice archive: lossless, checked on reading, written completely or not at all."""

import errno
import os

import numpy as np
import pytest

from mmlesion.ct import SliceArchive, write_slice_archive


@pytest.fixture
def slices():
    generator = np.random.default_rng(0)
    body = {number: generator.integers(-1024, 3072, (30, 40)) for number in (7, 8, 10)}
    body[8] = generator.integers(-32768, 32768, (12, 9))  # any 16-bit value
    return {number: array.astype(np.int16) for number, array in body.items()}


@pytest.fixture
def path(tmp_path, slices):
    path = tmp_path / 'a.slices'
    size = write_slice_archive(path, slices, slices.get, absent=[9, 99])
    assert size == path.stat().st_size
    return path


def test_slices_come_back(path, slices):
    with SliceArchive(path) as archive:
        assert archive.numbers == {7, 8, 9, 10, 99}
        assert archive.stored == {7, 8, 10}
        for number in (10, 7, 8, 7):
            read = archive.read(number)
            assert read.dtype == np.int16 and read.flags.writeable
            np.testing.assert_array_equal(read, slices[number])


def test_what_was_not_stored_is_no_gap(path):
    with SliceArchive(path) as archive:
        with pytest.raises(ValueError, match='slice 9 was not stored'):
            archive.read(9)
        with pytest.raises(KeyError):
            archive.read(11)


def test_no_changed_byte_is_read_over(path, slices):
    """Each byte of the file in turn, in steps of a prime."""
    data = path.read_bytes()
    for place in range(0, len(data), 41):
        changed = bytearray(data)
        changed[place] ^= 0x55
        path.write_bytes(changed)
        with pytest.raises(ValueError, match='a.slices: '):
            with SliceArchive(path) as archive:
                for number in slices:
                    archive.read(number)


@pytest.mark.parametrize('size', [0, 5, 30, 200, -1])
def test_cut_off(path, size):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match='a.slices: .*(truncated|another kind|empty)'):
        SliceArchive(path)


def test_a_failure_leaves_the_old_file_and_nothing_else(path, slices):
    before = path.read_bytes()

    def fail(number):
        if number == 10:
            raise ValueError('damaged')
        return slices[number]

    with pytest.raises(ValueError, match='damaged'):
        write_slice_archive(path, slices, fail)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ['a.slices']


def test_a_full_disk_leaves_nothing(tmp_path, slices, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space'):
        write_slice_archive(tmp_path / 'b.slices', slices, slices.get)
    assert os.listdir(tmp_path) == []


def test_flat_slices_are_small(tmp_path):
    flat = np.full((512, 512), 40, np.int16)
    size = write_slice_archive(tmp_path / 'c.slices', [1], lambda _: flat)
    assert size < 0.02 * 512 * 512


def test_views_and_other_byte_orders_come_back(tmp_path):
    values = np.random.default_rng(0).integers(-32768, 32768, (21, 30))
    columns = np.asfortranarray(values.astype('>i2'))[::2, ::-3]
    write_slice_archive(tmp_path / 'd.slices', [1], lambda _: columns)
    with SliceArchive(tmp_path / 'd.slices') as archive:
        np.testing.assert_array_equal(archive.read(1), columns)


def test_the_first_format_is_refused_with_the_cure(path):
    path.write_bytes(b'MMLSLC1\n' + path.read_bytes()[8:])
    with pytest.raises(ValueError, match='a.slices: an earlier version .* again'):
        SliceArchive(path)
