"""The runner with a model of two layers: checkpoints, resuming, NaN."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import Dataset

import mmlesion.registry  # noqa: F401
from mmlesion.engine.hooks import EpochSeedHook, NonFiniteLossHook
from mmlesion.engine.lesion_runner import LesionRunner


class _Points(Dataset):
    """Eight points with noise drawn anew at each reading, as augmentation."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.full((3,), float(index)) / 8 + torch.rand(3)


class _Net(BaseModel):
    def __init__(self, width=4, nan_at=None):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.last = nn.Linear(width, 1)
        self.nan_at = nan_at
        self.steps = 0

    def forward(self, inputs, mode='tensor'):
        out = self.last(self.first(inputs).relu())
        if mode != 'loss':
            return out
        self.steps += 1
        loss = (
            (out - inputs.sum(1, keepdim=True) * torch.rand_like(out)) ** 2
        ).mean()  # random, as sampling is
        if self.steps == self.nan_at:
            loss = loss * float('nan')
        return dict(loss=loss)


class _Losses(Hook):
    def __init__(self):
        self.values = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.values.append(float(outputs['loss'].detach()))


class _Killed(BaseException):
    pass


class _KillHook(Hook):
    """Ends the run in the middle of the third epoch."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if (runner.epoch, batch_idx) == (2, 1):
            raise _Killed


def _collate(samples):
    return dict(inputs=torch.stack(samples))


def _runner(work_dir, epochs, workers=0, nan_at=None, hooks=(), **kwargs):
    losses = _Losses()
    torch.manual_seed(0)
    cfg = dict(
        model=_Net(nan_at=nan_at),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=_Points(),
            batch_size=2,
            num_workers=workers,
            collate_fn=_collate,
            sampler=dict(type='DefaultSampler', shuffle=True),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        param_scheduler=[dict(type='MultiStepLR', milestones=[2])],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=[EpochSeedHook(), NonFiniteLossHook(), losses, *hooks],
        randomness=dict(seed=7),
        default_scope='mmengine',
        experiment_name=f'{work_dir.name}_{epochs}_{id(losses)}',
    )
    runner = LesionRunner(**{**cfg, **kwargs})
    return runner, losses.values


@pytest.mark.parametrize('workers', [0, 1])
def test_a_resumed_training_repeats_the_unbroken_one_bit_by_bit(tmp_path, workers):
    runner, unbroken = _runner(tmp_path / 'unbroken', 4, workers)
    runner.train()
    runner, killed = _runner(tmp_path / 'broken', 4, workers, hooks=[_KillHook()])
    with pytest.raises(_Killed):
        runner.train()
    runner, resumed = _runner(tmp_path / 'broken', 4, workers, resume=True)
    runner.train()

    assert len(unbroken) == 16
    assert killed[:8] + resumed == unbroken  # from the last whole epoch on
    weights = [
        torch.load(tmp_path / name / 'epoch_4.pth', weights_only=False)['state_dict']
        for name in ('unbroken', 'broken')
    ]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_epochs_draw_different_numbers(tmp_path):
    runner, _ = _runner(tmp_path, 1)
    drawn = []
    hook = EpochSeedHook()
    for epoch in (0, 1, 0):
        runner.train_loop._epoch = epoch
        hook.before_train_epoch(runner)
        drawn.append(torch.rand(1).item())
    assert drawn[0] == drawn[2] != drawn[1]


def test_a_nan_loss_stops_before_a_checkpoint_is_written(tmp_path):
    runner, values = _runner(tmp_path, 3, nan_at=8)
    with pytest.raises(
        FloatingPointError, match='epoch 2, iteration 4, because loss = nan'
    ):
        runner.train()
    assert len(values) == 7
    assert (tmp_path / 'epoch_1.pth').exists()
    assert not (tmp_path / 'epoch_2.pth').exists()


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    path = tmp_path / 'other.pth'
    weights = _Net(width=5).state_dict()
    weights['extra.weight'] = weights.pop('last.bias')
    torch.save(dict(state_dict=weights), path)
    runner, _ = _runner(tmp_path / 'work', 1)
    runner.exact_checkpoint = True

    with pytest.raises(ValueError) as error:
        runner.load_checkpoint(str(path))

    message = str(error.value)
    assert '\n' not in message
    assert 'belongs to another model' in message
    assert '1 key missing (last.bias)' in message
    assert '1 key unexpected (extra.weight)' in message
    assert '3 keys of another shape' in message
    assert 'first.weight being (5, 3) instead of (4, 3)' in message


def test_part_of_a_model_may_start_a_training(tmp_path):
    path = tmp_path / 'part.pth'
    torch.save(dict(state_dict={'first.bias': torch.full((4,), 5.0)}), path)
    runner, _ = _runner(tmp_path / 'work', 1)
    runner.load_checkpoint(str(path))
    assert runner.model.first.bias.tolist() == [5.0] * 4


def test_weights_alone_cannot_be_resumed_from(tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=_Net().state_dict()), path)
    runner, _ = _runner(tmp_path / 'work', 1, resume=True, load_from=str(path))
    with pytest.raises(ValueError, match="cannot be resumed from.*'meta'"):
        runner.train()


def test_the_console_begins_with_the_training_and_the_log_has_the_set_up(
    tmp_path, capfd
):
    runner, _ = _runner(tmp_path / 'work', 1)
    runner.train()

    shown = ''.join(capfd.readouterr())
    before_the_first_epoch = shown[: shown.index('Epoch(train)')].splitlines()
    assert len(before_the_first_epoch) < 10, shown
    (log,) = (tmp_path / 'work').rglob('*.log')
    assert str(log) in shown
    written = log.read_text()
    for part in ('System environment', 'Hooks will be executed'):
        assert part in written and part not in shown


def test_warnings_of_the_set_up_are_shown(tmp_path, capfd):
    runner, _ = _runner(tmp_path / 'work', 1)
    runner.logger.info('of no interest yet')
    runner.logger.warning('of interest at once')
    shown = ''.join(capfd.readouterr())
    assert 'at once' in shown and 'no interest' not in shown


@pytest.mark.parametrize('persistent', [False, True])
def test_loading_processes_change_nothing(tmp_path, persistent):
    losses = []
    for workers in (0, 1, 2):
        runner, values = _runner(tmp_path / f'{workers}', 2, workers)
        loader = runner._train_dataloader
        loader['persistent_workers'] = persistent and workers > 0
        runner.train()
        runner.train_dataloader._iterator = None  # ends persistent workers
        losses.append(values)
    assert losses[0] == losses[1] == losses[2]
    assert losses[0][:4] != losses[0][4:]  # epochs draw anew
