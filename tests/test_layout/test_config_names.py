"""Names of installed configs: ``mmlesion::...`` as a base and for MMEngine's hub."""

import pytest
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS, DefaultScope

import mmlesion.registry  # noqa: F401
from mmlesion.cli.arguments import read_config

NAMES = (
    '3dce_csatt_15slice.py',
    '3dce/3dce_csatt_15slice.py',  # its paper's folder, although it lies above
    '3dce/3dce_9slice.py',
    '3dce_9slice.py',
    'phantom/phantom_rfcn_3slice.py',
)


@pytest.mark.parametrize('name', NAMES)
def test_an_inherited_config_builds_under_the_scope_of_the_host(name, tmp_path):
    (tmp_path / 'mine.py').write_text(
        f"_base_ = 'mmlesion::{name}'\ntrain_cfg = dict(max_epochs=7)\n"
    )
    cfg = Config.fromfile(tmp_path / 'mine.py')
    assert cfg.train_cfg.max_epochs == 7
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        # a head of mmdet, unknown to the registries of mmlesion
        assert MODELS.build(cfg.model.rpn_head) is not None
    assert get_config(f'mmlesion::{name}').model == cfg.model
    assert read_config(f'mmlesion::{name}').model == cfg.model


def test_a_config_that_is_absent_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='mmlesion has no config none.py'):
        read_config('mmlesion::none.py')
    (tmp_path / 'mine.py').write_text("_base_ = 'mmlesion::3dce/none.py'\n")
    with pytest.raises(FileNotFoundError, match='3dce/none.py'):
        Config.fromfile(tmp_path / 'mine.py')


def test_configs_of_other_packages_are_found_as_before(tmp_path):
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'\n"
    )
    cfg = Config.fromfile(tmp_path / 'mine.py')
    assert cfg.model['_scope_'] == 'mmdet'
    name = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    assert get_config(name).model.type == 'FasterRCNN'
