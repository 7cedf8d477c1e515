"""Tests of configs given as a file, a name or an object."""

from pathlib import Path

import pytest
from mmengine.config import Config
from torch import nn

from mmlesion.engine.trained_model import as_config
from mmlesion.registry import type_name

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'hesam_lidc_11c.py'


def test_a_file_a_name_and_a_config_are_the_same():
    read = Config.fromfile(CONFIG)
    assert as_config(read) is read
    for config in (CONFIG, str(CONFIG), 'mmlesion::hesam_lidc_11c.py'):
        assert as_config(config).to_dict() == read.to_dict()


@pytest.mark.parametrize(
    'path',
    sorted((CONFIG.parent / 'scan').glob('[dp]*.py')),
    ids=lambda path: path.stem,
)
def test_networks_of_scan_configs_are_found_from_any_folder(
    path, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    names = [step.config for step in as_config(path).steps if 'config' in step]
    assert names
    for name in names:
        assert 'test_dataloader' in as_config(name)


def test_a_config_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match='Config .*a.py does not exist'):
        as_config(tmp_path / 'a.py')


@pytest.mark.parametrize(
    'cfg, name',
    [
        (dict(type='FROCMetric'), 'FROCMetric'),
        (dict(type='mmlesion.FROCMetric'), 'FROCMetric'),
        (dict(type='mmlesion.evaluation.FROCMetric'), 'FROCMetric'),
        (dict(type=nn.Linear), 'Linear'),
        (Config(dict(step=dict(type='mmdet.Resize'))).step, 'Resize'),
        (dict(), ''),
    ],
)
def test_name_of_the_class_of_a_config(cfg, name):
    assert type_name(cfg) == name
