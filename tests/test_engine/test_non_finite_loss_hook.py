"""The message of a NaN loss, sample by sample."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData

from mmlesion.engine.hooks import NonFiniteLossHook

RUNNER = SimpleNamespace(epoch=2)


def _batch():
    samples = []
    for name in ('a.png', 'b.png'):
        sample = BaseDataElement(metainfo=dict(img_path=name))
        sample.gt_instances = InstanceData(bboxes=torch.ones(1, 4))
        samples.append(sample)
    return dict(
        inputs=[torch.zeros(3, 2, 2), torch.zeros(3, 2, 2)], data_samples=samples
    )


def _run(batch, **losses):
    NonFiniteLossHook().after_train_iter(RUNNER, 4, batch, losses)


def test_finite_losses_pass():
    _run(_batch(), loss=torch.tensor(1.0), loss_bbox=2.0)


def test_the_samples_of_the_batch_are_named():
    with pytest.raises(FloatingPointError) as error:
        _run(
            _batch(),
            loss=torch.tensor(float('nan')),
            loss_bbox=1.0,
            loss_cls=float('inf'),
        )
    assert str(error.value) == (
        'Training stopped in epoch 3, iteration 5, because loss = nan, '
        'loss_cls = inf: the batch was a.png, b.png.'
    )


def test_the_sample_with_bad_pixels_is_named_alone():
    batch = _batch()
    batch['inputs'][1][0, 0, 0] = float('inf')
    with pytest.raises(
        FloatingPointError, match=r': pixels of b\.png are not finite\.$'
    ):
        _run(batch, loss=float('nan'))


def test_the_sample_with_bad_boxes_is_named_alone():
    batch = _batch()
    batch['data_samples'][0].gt_instances.bboxes[0, 0] = float('nan')
    with pytest.raises(
        FloatingPointError, match=r': boxes of a\.png are not finite\.$'
    ):
        _run(batch, loss=float('nan'))


def test_a_loss_scaler_may_skip_a_few_steps():
    wrapper = SimpleNamespace(loss_scaler=torch.amp.GradScaler('cpu'))
    runner = SimpleNamespace(epoch=2, optim_wrapper=wrapper)
    hook = NonFiniteLossHook(max_skipped=2)
    for loss in ('inf', 'nan', '1', 'nan', 'nan'):  # a finite loss starts anew
        hook.after_train_iter(runner, 4, _batch(), dict(loss=float(loss)))
    with pytest.raises(FloatingPointError, match='iteration 5, because loss = nan'):
        hook.after_train_iter(runner, 4, _batch(), dict(loss=float('nan')))


def test_a_loss_scaler_does_not_excuse_bad_data():
    wrapper = SimpleNamespace(loss_scaler=torch.amp.GradScaler('cpu'))
    runner = SimpleNamespace(epoch=2, optim_wrapper=wrapper)
    batch = _batch()
    batch['inputs'][0][0, 0, 0] = float('nan')
    with pytest.raises(FloatingPointError, match=r'pixels of a\.png are not finite'):
        NonFiniteLossHook().after_train_iter(runner, 4, batch, dict(loss=float('nan')))


def test_the_scaler_really_skips_the_step():
    """What the hook relies on, through the stock scaler."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = torch.amp.GradScaler('cpu', init_scale=2.0)
    loss = (weight * float('inf')).sum()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert weight.item() == 1
    assert scaler.get_scale() == 1.0
