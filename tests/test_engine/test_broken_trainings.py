"""A training that is killed at any moment resumes to the same result."""

import errno
import logging
import os
import random
import signal
import time

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import METRICS
from torch import nn
from torch.utils.data import Dataset

from mmlesion.engine.hooks import AtomicCheckpointHook, EpochSeedHook
from mmlesion.engine.latest_checkpoint import find_newest_checkpoint
from mmlesion.engine.lesion_runner import LesionRunner

EPOCHS = 4


class _Points(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.full((3,), float(index)) / 8 + torch.rand(3)


class _Net(BaseModel):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3, 1)

    def forward(self, inputs, mode='tensor'):
        out = self.last(inputs)
        if mode == 'loss':
            return dict(loss=(out - inputs.sum(1, keepdim=True)).square().mean())
        return [out]


@METRICS.register_module(name='BrokenTrainingMetric', force=True)
class _Metric(BaseMetric):
    """Best in the first epoch and in the third."""

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        from mmengine.logging import MessageHub

        epoch = MessageHub.get_current_instance().get_info('epoch')
        return dict(score=[0.5, 0.2, 0.9, 0.3][min(epoch, EPOCHS - 1)])


def _collate(samples):
    return dict(inputs=torch.stack(samples))


def _loader(shuffle):
    return dict(
        dataset=_Points(),
        batch_size=2,
        num_workers=0,
        collate_fn=_collate,
        sampler=dict(type='DefaultSampler', shuffle=shuffle),
    )


def _runner(work_dir, resume, hooks=()):
    torch.manual_seed(0)
    return LesionRunner(
        model=_Net(),
        work_dir=str(work_dir),
        train_dataloader=_loader(True),
        val_dataloader=_loader(False),
        val_evaluator=dict(type='BrokenTrainingMetric'),
        val_cfg=dict(),
        train_cfg=dict(by_epoch=True, max_epochs=EPOCHS, val_interval=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook',
                interval=1,
                max_keep_ckpts=1,
                save_best='score',
                rule='greater',
            )
        ),
        custom_hooks=[EpochSeedHook(), *hooks],
        randomness=dict(seed=7),
        default_scope='mmengine',
        experiment_name=f'{time.monotonic_ns()}',
        resume=resume,
    )


def _weights(folder):
    return {
        path.name: torch.load(path, weights_only=False)['state_dict']
        for path in sorted(folder.glob('*.pth'))
    }


def _assert_same(folder, unbroken):
    one, other = _weights(folder), _weights(unbroken)
    assert list(one) == list(other)
    for name, state in other.items():
        assert all(torch.equal(one[name][key], state[key]) for key in state), name


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
    """Return the folder of an uninterrupted training run."""
    folder = tmp_path_factory.mktemp('unbroken')
    _runner(folder, False).train()
    assert sorted(path.name for path in folder.glob('*.pth')) == [
        'best_score_epoch_3.pth',
        'epoch_4.pth',
    ]
    return folder


def _in_a_process(function):
    """Run a function in a forked process; its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        torch.set_num_threads(1)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        function()
    finally:
        os._exit(0)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork on this system')
def test_killed_at_twenty_random_times_it_ends_equal_to_an_unbroken_one(
    tmp_path, unbroken
):
    rng = random.Random(3)
    started = time.monotonic()
    _runner(tmp_path / 'timing', False).train()
    duration = time.monotonic() - started
    for _ in range(20):
        pid = _in_a_process(lambda: _runner(tmp_path / 'killed', True).train())
        time.sleep(rng.uniform(0, 0.6 * duration))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    _runner(tmp_path / 'killed', True).train()
    _assert_same(tmp_path / 'killed', unbroken)


class _Killed(BaseException):
    pass


@pytest.mark.parametrize('nth', range(1, 8))
@pytest.mark.parametrize('moment', ['before the name', 'after the name', 'removing'])
def test_killed_between_writing_and_removing_it_goes_on(
    tmp_path, unbroken, monkeypatch, moment, nth
):
    count = 0

    def kill(function, after):
        def killing(*args):
            nonlocal count
            relevant = str(args[-1]).endswith('.pth')
            count += relevant
            if relevant and count == nth and not after:
                raise _Killed
            result = function(*args)
            if relevant and count == nth:
                raise _Killed
            return result

        return killing

    with monkeypatch.context() as patch:
        if moment == 'removing':
            patch.setattr(
                AtomicCheckpointHook, '_remove', kill(AtomicCheckpointHook._remove, 0)
            )
        else:
            patch.setattr(os, 'replace', kill(os.replace, moment == 'after the name'))
        try:
            _runner(tmp_path, True).train()
        except _Killed:
            pass
    assert count == 0 or find_newest_checkpoint(tmp_path) or count == 1
    _runner(tmp_path, True).train()
    _assert_same(tmp_path, unbroken)


def test_a_full_disk_keeps_the_earlier_checkpoint_and_says_so(tmp_path, monkeypatch):
    class _Full(Hook):
        def before_save_checkpoint(self, runner, checkpoint):
            if runner.epoch == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r'epoch_3\.pth could not be written.*No space'):
        _runner(tmp_path, False, [_Full()]).train()
    assert (tmp_path / 'epoch_2.pth').exists()
    assert not list(tmp_path.glob('*.partial'))


@pytest.mark.parametrize('content', ['', 'epoch_9.pth', '/none/such/epoch_4.pth'])
def test_a_note_that_names_no_file_falls_back_to_the_newest(tmp_path, caplog, content):
    _runner(tmp_path, False).train()
    (tmp_path / 'last_checkpoint').write_text(content)
    found = find_newest_checkpoint(tmp_path, logging.getLogger())
    assert found == str(tmp_path / 'epoch_4.pth')
    assert ('does not exist' in caplog.text) == (content == 'epoch_9.pth')


def test_a_cut_checkpoint_is_passed_over_and_named(tmp_path, caplog):
    _runner(tmp_path, False).train()
    whole = (tmp_path / 'epoch_4.pth').read_bytes()
    (tmp_path / 'epoch_5.pth').write_bytes(whole[: len(whole) // 2])
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_5.pth'))
    found = find_newest_checkpoint(tmp_path, logging.getLogger())
    assert found == str(tmp_path / 'epoch_4.pth')
    assert 'epoch_5.pth is damaged' in caplog.text
    assert 'Resuming from' in caplog.text
    (tmp_path / 'epoch_4.pth').unlink()
    with pytest.raises(ValueError, match='remove them to start from the beginning'):
        find_newest_checkpoint(tmp_path)


def test_a_folder_without_checkpoints_starts_from_the_beginning(tmp_path, caplog):
    assert find_newest_checkpoint(tmp_path) is None
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    assert find_newest_checkpoint(tmp_path, logging.getLogger()) is None
    assert 'Starting from the beginning' in caplog.text
