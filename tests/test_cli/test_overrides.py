"""Overrides with unknown keys or implausible values."""

from pathlib import Path

import pytest

from mmlesion.cli.arguments import read_config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs' / '3dce_csatt_15slice.py'


def read(*options):
    return read_config(str(CONFIG), list(options))


@pytest.mark.parametrize(
    'option, message',
    [
        ('optim_wraper.optimizer.lr=0.1', r'nothing reads optim_wraper.*optim_wrapper'),
        ('train_cfg.max_epoch=3', r'nothing reads train_cfg\.max_epoch.*max_epochs'),
        ('train_cfg.max_epochs=-3', r'max_epochs must be an integer of 1 or more'),
        ('optim_wrapper.optimizer.type=SDG', r"there is no 'SDG'.*SGD"),
        ('optim_wrapper.optimizer.lr=abc', r"expected a number.*got 'abc'"),
        ('optim_wrapper.optimizer.lr=-1', r'lr must be 0 or more'),
        ('optim_wrapper.optimizer.momentun=0.5', r'nothing reads .*momentum'),
        ('train_dataloader.batch_size=0', r'batch_size must be an integer of 1'),
        ('train_dataloader.batchsize=2', r'nothing reads .*batch_size'),
        ('model.roi_head.bbox_head.num_classes=0', r'num_classes must be an integer'),
        ('model.test_cfg.rctn.score_thr=0', r'nothing reads .*model\.test_cfg\.rcnn'),
        ('model.test_cfg.rxn.nms_pre=9', r'nothing reads .*model\.test_cfg\.rpn'),
        ('model.bakbone.depth=3', r'nothing reads model\.bakbone.*model\.backbone'),
        (
            'train_dataloader.dataset.pipeline.0.num_slice=3',
            r'nothing reads .*pipeline\.0\.num_slice.*num_slices',
        ),
        ('train_dataloader.dataset.pipeline.99.type=a', r'has the entries 0 to'),
    ],
)
def test_an_override_that_cannot_be_meant_is_named(option, message):
    with pytest.raises(ValueError, match=message) as error:
        read(option)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'option, key, value',
    [
        ('train_cfg.max_epochs=2', 'train_cfg.max_epochs', 2),
        ('randomness.seed=3', 'randomness.seed', 3),
        ('load_from=a.pth', 'load_from', 'a.pth'),
        (
            'optim_wrapper.optimizer.nesterov=True',
            'optim_wrapper.optimizer.nesterov',
            1,
        ),
        ('optim_wrapper.clip_grad=None', 'optim_wrapper.clip_grad', None),
        ('param_scheduler=None', 'param_scheduler', None),
        ('train_dataloader.drop_last=True', 'train_dataloader.drop_last', True),
        ('optim_wrapper.accumulative_counts=2', 'optim_wrapper.accumulative_counts', 2),
        ('custom_hooks.0.type=mmlesion.EpochSeedHook', None, None),
        ('train_dataloader.dataset.indices=4', 'train_dataloader.dataset.indices', 4),
        ('model.backbone.init_cfg.checkpoint=b.pth', None, None),
    ],
)
def test_an_override_that_something_reads_is_taken(option, key, value):
    cfg = read(option)
    if key:
        for part in key.split('.'):
            cfg = cfg[part]
        assert cfg == value
