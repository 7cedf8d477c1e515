"""Annotation files of configs of data sets."""

from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

from mmlesion.datasets.indices.annotation_file import annotation_file, read_annotations


@pytest.mark.parametrize(
    ('kind', 'name'),
    [
        ('mmlesion.DeepLesionDataset', 'DL_info.csv'),
        ('mmlesion.LIDCNoduleDataset', 'nodules.csv'),
    ],
)
def test_default_of_the_class(kind, name):
    with DefaultScope.overwrite_default_scope('mmlesion'):
        assert annotation_file(dict(type=kind, data_root='a')) == Path('a', name)


def test_named_file_and_missing_file(tmp_path):
    dataset = dict(type='Unknown', data_root=str(tmp_path), ann_file='table.csv')
    assert annotation_file(dataset) == tmp_path / 'table.csv'
    assert read_annotations(dataset) == b''
    (tmp_path / 'table.csv').write_text('a,b')
    assert read_annotations(dataset) == b'a,b'


def test_data_set_without_annotation_file():
    assert annotation_file(dict(type=list)) is None
