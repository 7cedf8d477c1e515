"""Public re-annotations of DeepLesion in 3-D, and pickles with code inside."""

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from mmlesion.datasets.sources.deeplesion_volumes import read_sub_volumes
from mmlesion.datasets.sources.plain_pickle import read_plain_pickle

NAME = '000001_01_01_103-115'


def dump(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_are_read_as_by_pickle(tmp_path, protocol):
    content = {
        'a': [1, 2.5, 'x', b'\xff\x00', None, True, 3 + 1j],
        ('b', 2): OrderedDict(z={1, 2}),
        'f': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        'i': np.arange(4, dtype='>i2'),
        's': np.float32(2.5),
        'n': np.array(['yes', 'no']),
        'empty': np.zeros((0, 6)),
    }
    found = read_plain_pickle(dump(tmp_path / 'x.pkl', content, protocol))
    assert found.keys() == content.keys()
    for key in ('a', ('b', 2), 's'):
        assert found[key] == content[key]
    for key in ('f', 'i', 'n', 'empty'):
        assert found[key].shape == content[key].shape
        np.testing.assert_array_equal(found[key], content[key])


class _Code:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    'function, argument',
    [(os.mkdir, 'made'), (eval, '1'), (np.load, 'x'), (getattr, 'x'), (exec, '')],
)
@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_code_is_refused_and_not_run(
    tmp_path, monkeypatch, function, argument, protocol
):
    monkeypatch.chdir(tmp_path)
    path = dump(tmp_path / 'x.pkl', {NAME: [_Code(function, argument)]}, protocol)
    with pytest.raises(ValueError, match=r'x\.pkl: the pickle refers to .*, which is '):
        read_sub_volumes(path, 'lesion-harvester')
    assert not (tmp_path / 'made').exists()


def test_objects_in_arrays_and_damaged_files(tmp_path):
    path = dump(tmp_path / 'x.pkl', np.array([{}], object))
    with pytest.raises(ValueError, match='array of type O'):
        read_plain_pickle(path)
    whole = pickle.dumps({'a': np.arange(9)}, 2)
    for content in (b'', b'no pickle', whole[:-20], b'\x80\x02cos\nsystem\n.'):
        path.write_bytes(content)
        with pytest.raises(ValueError, match='pickle'):
            read_plain_pickle(path)
    # An array that claims more values than the file has
    path.write_bytes(whole.replace(b'K\t\x85', b'K\xff\x85'))
    with pytest.raises(ValueError, match='not a readable pickle'):
        read_plain_pickle(path)


def test_lesion_harvester(tmp_path):
    """The example of the README: x, y, x, y, z, z, with z from the first slice."""
    rows = [[224.0, 92.5, 241.0, 113.0, 5.0, 6.0]]
    path = dump(
        tmp_path / '3D-Box.pkl', {NAME + '.annot': rows, f'{NAME[:-7]}200-201': []}
    )
    found = read_sub_volumes(path, 'lesion-harvester')
    volume = found[NAME]
    assert (volume.series, volume.patient) == ('000001_01_01', '000001')
    assert volume.boxes.tolist() == [[223.5, 92, 107.5, 241.5, 113.5, 109.5]]
    assert found['000001_01_01_200-201'].boxes.shape == (0, 6)
    flat = {6: [[215.0, 176, 267, 220, 6, 6]]}
    path = dump(tmp_path / 'Revised.pkl', {NAME: flat})
    boxes = read_sub_volumes(path, 'lesion-harvester')[NAME].boxes
    assert boxes.tolist() == [[214.5, 175.5, 108.5, 267.5, 220.5, 109.5]]


def test_the_manual_1k_set(tmp_path):
    """x, y, z, x, y, z, with z of the series; two splits."""
    rows = np.array([[10, 20, 104, 30, 50, 106.0]])
    content = {'test': {NAME: rows}, 'val': {'000002_01_01_001-009': rows[:0]}}
    path = dump(tmp_path / '1k.pkl', content)
    found = read_sub_volumes(path, 'manual-1k')
    assert found[NAME].boxes.tolist() == [[9.5, 19.5, 103.5, 30.5, 50.5, 106.5]]
    assert list(read_sub_volumes(path, 'manual-1k', 'val')) == ['000002_01_01_001-009']


@pytest.mark.parametrize(
    'kind, content, message',
    [
        ('manual-1k', {NAME: [[1, 2, 3, 4, 5, 6]]}, 'is this a file of LesionHarv'),
        ('lesion-harvester', {NAME: np.zeros((1, 6))}, 'is this a file of the manual'),
        ('manual-1k', {NAME: np.array([[1, 1, 1, 2, 2, 2.0]])}, 'slices 1 to 2 of'),
        ('lesion-harvester', {NAME: [[1, 1, 2, 2, 13, 14]]}, 'are not in the sub-vol'),
        ('lesion-harvester', {NAME: [[3, 1, 2, 2, 1, 1]]}, 'are swapped'),
        ('lesion-harvester', {NAME: [[1, 1, 2, 2]]}, 'rows of six numbers'),
        ('lesion-harvester', {NAME: {4: [[1, 1, 2, 2, 5, 5]]}}, 'z1 = z2 = 4'),
        ('lesion-harvester', {'scan 7': []}, "name of a sub-volume, .* 'scan 7'"),
        ('lesion-harvester', [1], 'dictionary by sub-volume'),
    ],
)
def test_another_content_is_named(tmp_path, kind, content, message):
    path = dump(tmp_path / 'x.pkl', content)
    with pytest.raises(ValueError, match=message):
        read_sub_volumes(path, kind)
