"""Initialization of networks without normalization from a batch."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmlesion.engine.hooks import DataDependentInitHook


def network():
    """Eight layers whose outputs are nearly the same for all samples."""
    torch.manual_seed(0)
    layers = []
    for channels in (3, *[8] * 6):
        layers += [nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU()]
    layers += [nn.Flatten(), nn.Linear(8 * 36, 8, bias=False), nn.Dropout(0.5)]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(8, 2))
    model.data_preprocessor = lambda data, training: data
    return model.train()


def runner(model, iteration=0, loaded=False):
    batch = dict(inputs=torch.randn(16, 3, 6, 6, generator=torch.manual_seed(1)))
    return SimpleNamespace(
        model=model,
        iter=iteration,
        _has_loaded=loaded,
        train_loop=SimpleNamespace(dataloader=[batch]),
    )


def outputs(model, inputs):
    """Output of each layer with weights."""
    found = []
    with torch.no_grad():
        for layer in model.eval():
            inputs = layer(inputs)
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                found.append(inputs)
    return found


def test_each_channel_has_mean_0_and_deviation_1_on_the_batch():
    model = network()
    training = runner(model)
    inputs = training.train_loop.dataloader[0]['inputs']
    last = model[-1].weight.clone()
    before = outputs(model, inputs)
    between_samples = before[-2].std(0).mean() / before[-2].std()
    assert between_samples < 0.1  # the defect that the hook removes
    model.train()
    DataDependentInitHook().before_train(training)
    assert all(module.training for module in model.modules())
    *hidden, scores = outputs(model, inputs)
    for each in hidden[:-1]:
        assert each.mean((0, 2, 3)).abs().max() < 1e-4
        assert each.std((0, 2, 3), unbiased=False) == pytest.approx(
            torch.ones(8), abs=1e-4
        )
    deviation = hidden[-1].std(0, unbiased=False)  # no bias: only the scale
    assert deviation == pytest.approx(torch.ones(8), abs=1e-4)
    assert torch.equal(model[-1].weight, last) and scores.std(0).min() > 0.1


@pytest.mark.parametrize('state', [dict(iteration=3), dict(loaded=True)])
def test_trained_weights_are_not_changed(state):
    model = network()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    DataDependentInitHook().before_train(runner(model, **state))
    after = model.state_dict()
    assert all(torch.equal(after[name], each) for name, each in before.items())


def test_a_constant_channel_keeps_its_weights():
    model = network()
    with torch.no_grad():
        model[0].weight[0] = 0
    DataDependentInitHook().before_train(runner(model))
    assert not model[0].weight[0].any() and model[0].bias.isfinite().all()
