"""Layers that are initialized again at the start of fine-tuning for another task."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmlesion.engine.hooks import ResetLayersHook


def runner(iteration=0, loaded=True):
    model = nn.Sequential()
    for name in ('first', 'second', 'last'):
        model.add_module(name, nn.Linear(200, 200))
        nn.init.ones_(model[-1].weight)
        nn.init.ones_(model[-1].bias)
    return SimpleNamespace(model=model, iter=iteration, _has_loaded=loaded)


def test_only_the_named_layers_are_drawn_anew():
    training = runner()
    ResetLayersHook(['second', 'last'], std=0.05).before_train(training)
    assert (training.model.first.weight == 1).all()
    for layer in (training.model.second, training.model.last):
        assert layer.weight.std().item() == pytest.approx(0.05, rel=0.05)
        assert not layer.bias.any()
    assert not torch.equal(training.model.second.weight, training.model.last.weight)


def test_a_training_that_goes_on_keeps_what_it_has_learnt():
    training = runner(iteration=5)
    ResetLayersHook(['last']).before_train(training)
    assert (training.model.last.weight == 1).all()


@pytest.mark.parametrize(
    'loaded, name, sentence',
    [
        (False, 'last', 'name its checkpoint by --cfg-options load_from=FILE'),
        (True, 'head.fc', "no linear layer 'head.fc'"),
    ],
)
def test_what_cannot_be_is_one_sentence(loaded, name, sentence):
    with pytest.raises(ValueError, match=sentence):
        ResetLayersHook([name]).before_train(runner(loaded=loaded))
