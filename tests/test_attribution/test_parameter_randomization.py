"""The sanity check distinguishes maps of the model from maps of the image."""

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from mmlesion.attribution import GradCAM
from mmlesion.attribution.parameter_randomization import (
    _ranked,
    randomize_parameters,
)


def network():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


def test_a_map_of_the_picture_alone_stays():
    pictures = torch.rand(2, 1, 8, 8)
    check = randomize_parameters(network(), lambda: pictures)
    assert [layer.name for layer in check] == ['7', '3', '1', '0']
    for layer in check:
        assert layer.similarity.shape == (2, 1)
        assert torch.allclose(layer.similarity, torch.ones(2, 1))


def test_grad_cam_changes_and_the_model_is_restored():
    model, pictures = network().eval(), torch.rand(4, 1, 16, 16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with GradCAM(model, layers=['4']) as cam:
        check = randomize_parameters(model, lambda: cam(pictures, 1))
        again = randomize_parameters(model, lambda: cam(pictures, 1))
    assert check[-1].similarity.abs().mean() < 0.8
    for one, other in zip(check, again):
        assert torch.equal(one.similarity, other.similarity)
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(each.grad is None for each in model.parameters())


def test_cascade_leaves_the_layers_before_shuffled():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    original = [layer.weight.detach().clone() for layer in model]
    for cascade, expected in ((True, [(1, 0), (1, 1)]), (False, [(1, 0), (0, 1)])):
        changed = []

        def explain(seen=changed):
            seen.append(
                tuple(
                    int(not torch.equal(model[index].weight, original[index]))
                    for index in (1, 0)
                )
            )
            return torch.rand(1, 1, 3)

        randomize_parameters(model, explain, cascade=cascade)
        assert changed == [(0, 0), *expected]


def test_shuffling_keeps_the_values():
    model = nn.Sequential(nn.Linear(5, 7))
    values = model[0].weight.detach().flatten().sort().values
    seen = []

    def explain():
        seen.append(model[0].weight.detach().clone())
        return torch.rand(1, 1, 3)

    randomize_parameters(model, explain, ['0'])
    assert torch.equal(seen[1].flatten().sort().values, values)
    assert not torch.equal(seen[0], seen[1])


def test_the_model_is_restored_after_an_exception():
    model = network()
    weight = model[7].weight.detach().clone()
    answers = iter([torch.rand(1, 1, 3, 3)])
    with pytest.raises(StopIteration):
        randomize_parameters(model, lambda: next(answers))
    assert torch.equal(model[7].weight, weight)


@pytest.mark.parametrize('decimals', [0, 6])
def test_similarity_is_spearmans(decimals):
    one, other = torch.randn(2, 3, 5, 6), torch.randn(2, 3, 5, 6)
    one, other = one.round(decimals=decimals), other.round(decimals=decimals)
    for absolute in (False, True):
        ours = (_ranked(one, absolute) * _ranked(other, absolute)).sum(2)
        for sample in range(2):
            for index in range(3):
                pair = one[sample, index].flatten(), other[sample, index].flatten()
                pair = [each.abs() if absolute else each for each in pair]
                expected = spearmanr(*(each.numpy() for each in pair)).statistic
                assert ours[sample, index].item() == pytest.approx(expected)


def test_a_map_of_one_value_resembles_nothing():
    check = randomize_parameters(network(), lambda: torch.ones(1, 2, 4, 4), ['0'])
    assert check[0].similarity.tolist() == [[0, 0]]


def test_bad_input_is_told():
    maps = torch.rand(1, 1, 3, 3)
    for layers, explain, message in (
        (['8'], lambda: maps, "no layer '8'"),
        (['2'], lambda: maps, "layer '2' has no parameters"),
        (None, lambda: maps[0, 0], r'maps \(B, K, \*grid\), got \(3, 3\)'),
        (None, lambda: maps[:0], 'got'),
        (None, lambda: maps * torch.nan, 'NaN or infinite'),
    ):
        with pytest.raises(ValueError, match=message):
            randomize_parameters(network(), explain, layers)
    sizes = iter([3, 4])
    with pytest.raises(ValueError, match='the maps have shape'):
        randomize_parameters(network(), lambda: torch.rand(1, 1, next(sizes), 2), ['0'])
