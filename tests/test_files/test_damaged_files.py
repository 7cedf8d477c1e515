"""Damaged tables, lists, archives and checkpoints: one sentence that names the file."""

import random
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmlesion.ct import (
    CTVolume,
    SliceArchive,
    read_volume,
    write_slice_archive,
    write_volume,
)
from mmlesion.datasets import DeepLesionDataset
from mmlesion.datasets.indices.nodule_index import (
    read_nodule_index,
    write_nodule_index,
)
from mmlesion.engine.checkpoint import read_checkpoint
from mmlesion.files import read_text
from mmlesion.phantom import write_deeplesion
from mmlesion.scan.evaluation import read_results, read_truth
from mmlesion.scan.find_scans import find_scans

HEAD = 'scan,center_x_mm,center_y_mm,center_z_mm,long_diameter_mm'


def _forge(path, **fields):
    """Change fields of the first slice of an archive, and its check sums."""
    content = bytearray(path.read_bytes())
    names = ('number', 'height', 'width', 'packed', 'crc', 'offset')
    record = struct.Struct('<iiiIIQ')
    values = dict(zip(names, record.unpack_from(content, 24)))
    if 'frame' in fields:
        place = values['offset']
        frame = fields.pop('frame')
        content[place : place + len(frame)] = frame
        values['crc'] = zlib.crc32(content[place : place + values['packed']])
    record.pack_into(content, 24, *{**values, **fields}.values())
    magic, count, _, size = struct.unpack_from('<8sIIQ', content)
    index = content[24 : 24 + count * record.size]
    crc = zlib.crc32(index, zlib.crc32(struct.pack('<8sIIQ', magic, count, 0, size)))
    struct.pack_into('<8sIIQ', content, 0, magic, count, crc, size)
    path.write_bytes(content)


@pytest.mark.parametrize(
    'fields, message',
    [
        (dict(height=1 << 30, width=1 << 30), 'states 1073741824 x 1073741824 pixels'),
        (dict(height=-1), 'states -1 x 20 pixels'),
        (dict(frame=b'\x02\x01\x21\x02\xff\xff\xff\x7f'), 'holds 2147483647 bytes'),
        (dict(frame=b'\x09'), 'is damaged'),
    ],
)
def test_a_forged_archive_takes_no_memory(tmp_path, fields, message):
    path = tmp_path / 'a.slices'
    write_slice_archive(path, [1], lambda number: np.zeros((24, 20), np.int16))
    _forge(path, **fields)
    with SliceArchive(path) as archive:
        with pytest.raises(ValueError, match=rf'a\.slices: slice 1 .*{message}'):
            archive.read(1)


def test_an_archive_may_not_unpack_to_more_than_the_limit(tmp_path, monkeypatch):
    path = tmp_path / 'a.slices'
    plane = np.zeros((1100, 1000), np.int16)
    write_slice_archive(path, [1], lambda number: plane)
    monkeypatch.setenv('MMLESION_MAX_SLICE_MPX', '1')
    with SliceArchive(path) as archive:
        with pytest.raises(ValueError, match='MMLESION_MAX_SLICE_MPX'):
            archive.read(1)


@pytest.mark.parametrize('content', [b'\xff\xfea', b'a\x80\n', b'ab\xc3'])
def test_a_text_of_broken_bytes(tmp_path, content):
    path = tmp_path / 'a.txt'
    path.write_bytes(content)
    for read in (read_text, find_scans, read_truth):
        with pytest.raises(ValueError, match=r'a\.txt: the file is not UTF-8 text'):
            read(path)


def test_a_split_list_of_broken_bytes(tmp_path):
    data = write_deeplesion(tmp_path / 'data', 1, 0, 0, size=96)
    (tmp_path / 'own.txt').write_bytes(b'000001_01\xff\n')
    with pytest.raises(ValueError, match=r'own\.txt: the file is not UTF-8 text'):
        DeepLesionDataset(
            ann_file=str(data / 'DL_info.csv'),
            split='own',
            split_files=dict(own=str(tmp_path / 'own.txt')),
            pipeline=[],
        )


@pytest.mark.parametrize(
    'row, message',
    [
        ('a,1,2,3,4,5', 'expected one cell per column'),
        ('a,1,2,3', 'expected one cell per column'),
        (',1,2,3,4', 'scan is empty'),
        ('a,1,2,3,1_0', "long_diameter_mm must be a number, but is '1_0'"),
        ('a,1,2,inf,4', "center_z_mm must be a number, but is 'inf'"),
        ('"a', 'the file is not a csv file'),
    ],
)
def test_a_row_of_the_truth_that_cannot_be_meant(tmp_path, row, message):
    path = tmp_path / 'truth.csv'
    path.write_text(f'{HEAD}\n{row}')
    with pytest.raises(ValueError, match=rf'truth\.csv.*{message}'):
        read_truth(path)


@pytest.mark.parametrize(
    'content, message',
    [
        ('[]', 'expected the findings of a scan, but it is a list'),
        ('1', 'but it is a int'),
        ('null', 'but it is a NoneType'),
        ('{"schema_version": "1.0", "score": NaN}', 'NaN is not a JSON number'),
        ('[' * 100_000, 'recursion'),
    ],
)
def test_findings_that_are_none(tmp_path, content, message):
    path = tmp_path / 'a' / 'findings.json'
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(ValueError, match=rf'findings\.json: .*{message}'):
        read_results(tmp_path)


def test_a_checkpoint_with_the_key_none(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict={None: torch.ones(1)}), path)
    with pytest.raises(ValueError, match=r'a\.pth holds .* has the key None'):
        read_checkpoint(path)


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(label=0), 'label must be 1 for a malignancy above 3'),
        (dict(malignancy=1e308), 'malignancy must be from 1 to 5'),
        (dict(malignancy=-1.0), 'malignancy must be from 1 to 5'),
        (dict(patient=''), 'patient is empty'),
        (dict(nodule_id='../a'), 'nodule_id must be a name without folders'),
    ],
)
def test_a_row_of_nodules_with_invalid_values(tmp_path, nodule_row, change, message):
    path = tmp_path / 'nodules.csv'
    write_nodule_index(path, [replace(nodule_row, **change)])
    with pytest.raises(ValueError, match=rf'nodules\.csv: row 2: {message}'):
        read_nodule_index(path)
    write_nodule_index(path, [nodule_row])
    assert read_nodule_index(path)[0].malignancy == 4.25


def test_every_changed_place_of_one_dicom_slice_is_refused(tmp_path):
    contents = pytest.importorskip('benchmarks.faults.contents')
    rng = np.random.default_rng(0)
    array = rng.integers(-1000, 400, (5, 12, 10)).astype(np.int16)
    write_volume(tmp_path / 'series', CTVolume(array, (2.5, 0.7, 0.7)))
    path = tmp_path / 'series' / '0003.dcm'
    whole = path.read_bytes()
    refused = 0
    for number in range(60):
        changed = contents.dicom_geometry(whole, random.Random(number), False)
        path.write_bytes(changed)
        try:
            found = read_volume(tmp_path / 'series')
        except ValueError as error:
            assert 'series' in str(error)
            refused += 1
        else:
            np.testing.assert_array_equal(found.array, array)
            assert found.spacing_mm == pytest.approx((2.5, 0.7, 0.7))
    assert refused > 50


def test_a_truncated_rle_series_takes_little_memory(tmp_path):
    import resource

    pydicom = pytest.importorskip('pydicom')
    from pydicom.uid import RLELossless

    array = np.random.default_rng(0).integers(-1000, 400, (3, 64, 64)).astype(np.int16)
    write_volume(tmp_path / 'series', CTVolume(array, (2.5, 0.7, 0.7)))
    for path in (tmp_path / 'series').glob('*.dcm'):
        slice_ = pydicom.dcmread(path)
        slice_.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        slice_.compress(RLELossless)
        slice_.save_as(path)
    np.testing.assert_array_equal(read_volume(tmp_path / 'series').array, array)
    path = tmp_path / 'series' / '0002.dcm'
    content = path.read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes of the tag, the representation and the length before the first item
    first_item = content.index(b'\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff') + 12
    ends = [len(content) - cut for cut in (5000, 2000, 600, 60, 9)]
    for end in (*ends, first_item + 4, first_item + 7):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r'0002\.dcm: .* damaged or truncated'):
            read_volume(tmp_path / 'series')
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 500_000, f'{grown} KiB'
