"""All functions that load weights reject a checkpoint that contains code."""

import os

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel, BaseModule
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn
from torch.utils.data import Dataset

from mmlesion.engine.checkpoint import read_checkpoint, trust_checkpoints
from mmlesion.engine.latest_checkpoint import find_newest_checkpoint
from mmlesion.engine.lesion_runner import LesionRunner
from mmlesion.engine.trained_model import load_trained_model


class _Touch:
    """A pickle that makes a folder when an ordinary reader opens it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class _Layer(BaseModule):
    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.conv = nn.Linear(3, 1)

    def forward(self, inputs):
        return self.conv(inputs)


@MODELS.register_module(name='SafeLoadingNet', force=True)
class _Net(BaseModel):
    """A model whose layer, one level down, may start from published weights."""

    def __init__(self, init_cfg=None, teacher=None, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.backbone = _Layer(init_cfg)
        if teacher is not None:  # as MMDetection's distilling detectors do
            load_checkpoint(self.backbone, teacher)

    def forward(self, inputs, mode='tensor'):
        out = self.backbone(inputs)
        return dict(loss=out.square().mean()) if mode == 'loss' else [out]


class _Points(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.ones(3)


class _NoMetric:
    def __init__(self):
        self.metrics = []

    def process(self, data_samples, data_batch=None):
        pass

    def evaluate(self, size):
        return dict(done=1.0)


def _collate(samples):
    return dict(inputs=torch.stack(samples))


def _loader():
    return dict(
        dataset=_Points(),
        batch_size=2,
        num_workers=0,
        collate_fn=_collate,
        sampler=dict(type='DefaultSampler', shuffle=False),
    )


def _runner(work_dir, model=None, hooks=(), trust=False, **kwargs):
    from mmengine.evaluator import Evaluator

    return LesionRunner(
        model=model or dict(type='SafeLoadingNet'),
        work_dir=str(work_dir),
        train_dataloader=_loader(),
        test_dataloader=_loader(),
        test_evaluator=Evaluator([]),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        test_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=list(hooks),
        default_scope='mmengine',
        cfg=Config(dict(trust_checkpoint=trust)),
        experiment_name=f'{work_dir}_{len(os.listdir(work_dir.parent))}',
        **kwargs,
    )


@pytest.fixture
def evil(tmp_path):
    """A whole checkpoint that makes the folder ``made`` when it may."""
    state = _Net().state_dict()
    path = tmp_path / 'evil.pth'
    torch.save(
        dict(
            state_dict=state,
            ema_state_dict={f'module.{key}': value for key, value in state.items()},
            meta=dict(epoch=0, iter=0),
            message_hub={},
            optimizer={},
            surprise=_Touch(tmp_path / 'made'),
        ),
        path,
    )
    return path


def _train(work, evil, **kwargs):
    _runner(work, **kwargs).train()


def _pretrained(evil, **kwargs):
    return dict(
        type='SafeLoadingNet',
        init_cfg=dict(type='Pretrained', checkpoint=str(evil), **kwargs),
    )


WAYS = {
    'init_cfg': lambda work, evil: _train(work, evil, model=_pretrained(evil)),
    'init_cfg with a prefix': lambda work, evil: _train(
        work, evil, model=_pretrained(evil, prefix='backbone')
    ),
    'the constructor of a model': lambda work, evil: _train(
        work, evil, model=dict(type='SafeLoadingNet', teacher=str(evil))
    ),
    'load_from': lambda work, evil: _train(work, evil, load_from=str(evil)),
    'resume by name': lambda work, evil: _train(
        work, evil, load_from=str(evil), resume=True
    ),
    'resume with EMA': lambda work, evil: _train(
        work, evil, load_from=str(evil), resume=True, hooks=[EMAHook()]
    ),
    'test': lambda work, evil: _runner(work, load_from=str(evil)).test(),
    'explain and other programs': lambda work, evil: load_trained_model(
        Config(dict(model=dict(type='SafeLoadingNet'), default_scope='mmengine')), evil
    ),
    'the host loader': lambda work, evil: load_checkpoint(_Net(), str(evil)),
    'the inferencers of the hosts': lambda work, evil: CheckpointLoader.load_checkpoint(
        str(evil)
    ),
}


@pytest.mark.parametrize('way', WAYS)
def test_no_way_of_loading_runs_code(tmp_path, evil, way):
    with pytest.raises(ValueError, match=r'evil\.pth was not loaded.*mkdir'):
        WAYS[way](tmp_path / 'work', evil)
    assert not (tmp_path / 'made').exists()


def test_resuming_from_the_work_directory_runs_no_code(tmp_path, evil):
    with pytest.raises(ValueError, match=r'evil\.pth was not loaded.*mkdir'):
        find_newest_checkpoint(tmp_path)
    assert not (tmp_path / 'made').exists()


def test_a_trusted_config_may_run_code_below_init_cfg_and_only_there(tmp_path, evil):
    _runner(tmp_path / 'work', _pretrained(evil), trust=True).train()
    assert (tmp_path / 'made').exists()
    with pytest.raises(ValueError, match='was not loaded'):
        load_checkpoint(_Net(), str(evil))


def test_trust_ends_with_its_context(tmp_path, evil):
    with trust_checkpoints(True):
        read_checkpoint(evil)
    (tmp_path / 'made').rmdir()
    with pytest.raises(ValueError, match='was not loaded'):
        read_checkpoint(evil)


@pytest.mark.parametrize(
    'address', ['s3://bucket/x.pth', 'petrel://x', 'pavi://x', 'open-mmlab://no_such']
)
def test_an_address_that_is_not_read_is_named(address):
    with pytest.raises(ValueError, match=address):
        CheckpointLoader.load_checkpoint(address)


@pytest.mark.parametrize(
    'content, message',
    [
        (dict(state_dict=None), 'its state_dict is a NoneType'),
        (dict(state_dict=[torch.ones(1)]), 'its state_dict is a list'),
        (dict(state_dict={1: torch.ones(1)}), 'has the key 1'),
        (dict(state_dict=dict(weight='none')), 'weight in its state_dict is a str'),
        ({3: torch.ones(1)}, 'has the key 3'),
        (
            dict(state_dict=dict(weight=torch.tensor([1.0, float('nan')]))),
            r'NaN or infinite weights \(weight\)',
        ),
        (
            dict(state_dict={}, ema_state_dict=dict(w=torch.tensor(float('inf')))),
            r'NaN or infinite weights \(w\)',
        ),
    ],
)
def test_weights_that_are_none_are_named(tmp_path, content, message):
    path = tmp_path / 'odd.pth'
    torch.save(content, path)
    with pytest.raises(
        ValueError, match=rf'odd\.pth (holds|contains) .*{message}'
    ) as error:
        read_checkpoint(path)
    assert '\n' not in str(error.value)


def test_a_flipped_byte_of_a_tensor_is_found(tmp_path):
    path = tmp_path / 'flipped.pth'
    torch.save(dict(state_dict=dict(weight=torch.full((1000,), 0.5))), path)
    content = bytearray(path.read_bytes())
    place = content.index(torch.tensor(0.5).numpy().tobytes() * 8) + 102
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'flipped\.pth is damaged: the check sum of'):
        read_checkpoint(path)


@pytest.mark.parametrize('version, warned', [('2.5.1+cpu', 1), ('2.6.0', 0)])
def test_a_reader_with_a_known_fault_is_named_once(
    tmp_path, monkeypatch, recwarn, version, warned
):
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict=dict(weight=torch.ones(1))), path)
    monkeypatch.setattr(torch, '__version__', version)
    for _ in range(2):
        read_checkpoint(path)
    found = [str(each.message) for each in recwarn]
    assert sum('CVE-2025-32434' in each for each in found) == warned
