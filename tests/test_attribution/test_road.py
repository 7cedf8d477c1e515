"""ROAD and the stability of maps."""

import numpy as np
import pytest
import torch
from torch import nn

from mmlesion.attribution import (
    insertion_deletion,
    map_similarity,
    max_sensitivity,
    road,
)
from mmlesion.attribution.road import DIAGONAL, DIRECT, impute


def test_a_hole_becomes_the_mean_of_its_neighbors():
    """One removed pixel: four direct neighbors of 6, four diagonal ones of 0."""
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, [0, 1, 1, 2], [1, 0, 2, 1]] = 6
    removed = torch.zeros(1, 1, 3, 3, dtype=torch.bool)
    removed[..., 1, 1] = True
    filled = impute(image, removed, noise=0)
    assert float(filled[0, 0, 1, 1]) == pytest.approx(6 * 4 / 6)
    filled[0, 0, 1, 1] = image[0, 0, 1, 1]
    assert torch.equal(filled, image)  # the others stay


def test_many_holes_solve_the_linear_system():
    torch.manual_seed(0)
    images = torch.randn(2, 3, 7, 6)
    removed = torch.rand(2, 1, 7, 6) < 0.6
    filled = impute(images, removed, noise=0)
    for image, hole, original in zip(filled, removed[:, 0], images):
        for y, x in hole.nonzero().tolist():
            total, weights = 0, 0
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if (dy, dx) != (0, 0) and 0 <= y + dy < 7 and 0 <= x + dx < 6:
                        weight = DIAGONAL if dy and dx else DIRECT
                        total = total + weight * image[:, y + dy, x + dx]
                        weights += weight
            torch.testing.assert_close(
                image[:, y, x], total / weights, atol=1e-3, rtol=1e-3
            )
        assert torch.equal(image[:, ~hole], original[:, ~hole])


def test_a_plane_is_restored_and_noise_is_drawn_by_seed():
    image = torch.linspace(0, 1, 9).repeat(9, 1)[None, None]
    removed = torch.zeros(1, 1, 9, 9, dtype=torch.bool)
    removed[..., 2:7, 2:7] = True
    torch.testing.assert_close(impute(image, removed, 0), image, atol=1e-4, rtol=0)
    draw = [
        impute(image, removed, 0.1, torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2])
    assert impute(image, removed | True, 0).isfinite().all()


def test_imputation_is_equal_to_quantus():
    reason = 'Quantus is not installed'
    module = pytest.importorskip('quantus.functions.perturb_func', reason=reason)
    torch.manual_seed(0)
    images = torch.randn(2, 3, 9, 9)
    removed = torch.rand(2, 1, 9, 9) < 0.5
    for found, image, hole in zip(impute(images, removed, 0), images, removed):
        filled = module.noisy_linear_imputation(
            image.numpy(), np.flatnonzero(hole), noise=0
        )
        np.testing.assert_allclose(found, filled, atol=1e-3)


class Spot(nn.Module):
    """The score of class 1 is the sum of a 3 x 3 spot."""

    def forward(self, x):
        total = x[:, 0, 4:7, 4:7].sum((1, 2))
        return torch.stack([torch.zeros_like(total), total], 1)


def test_the_right_map_beats_its_negative():
    images = torch.zeros(2, 1, 12, 12)
    images[..., 4:7, 4:7] = 1
    maps = images.clone()
    good = road(Spot(), images, maps, 1, score='logit')
    bad = road(Spot(), images, -maps, 1, score='logit')
    assert good.shape == (2, 1) and good.min() > 2
    torch.testing.assert_close(bad, -good, atol=0.5, rtol=0.2)
    guess = road(Spot(), images, torch.rand(2, 1, 12, 12), 1, score='logit')
    assert guess.abs().max() < good.min() / 2
    # flipped with the picture, on a coarser grid too
    assert road(Spot(), images, maps[..., ::3, ::3], 1).shape == (2, 1)


class TopHalf(nn.Module):
    """The log-odds of class 1 increase with the mean of the upper half."""

    def forward(self, x):
        score = 8 * (x[:, 0, :16].mean((1, 2)) - 0.5)
        return torch.stack([-score, score], 1)


@pytest.mark.parametrize('flipped', [False, True])
def test_equal_map_values_are_ranked_in_random_order(flipped):
    """A map without information has 0 wherever the evidence is."""
    torch.manual_seed(0)
    images = 0.05 * torch.rand(2, 1, 32, 32)
    images[:, :, :16] += 1
    model = TopHalf()
    forward = (lambda x: model(x.flip(2))) if flipped else model
    images = images.flip(2) if flipped else images
    constant = torch.zeros(2, 1, 32, 32)
    found = road(model, images, constant, 1, forward=forward)
    assert found.abs().max() < 0.02  # in order of rows: -0.21 or 0.21
    curves = insertion_deletion(
        model,
        images,
        constant,
        1,
        replace_by='mean',
        insert_into='mean',
        forward=forward,
    )
    difference = curves.insertion_auc - curves.deletion_auc
    assert difference.abs().max() < 0.02
    again = road(model, images, constant, 1, forward=forward, seed=1)
    assert not torch.equal(found, again)


def test_a_result_does_not_depend_on_the_batch(net):
    torch.manual_seed(0)
    images, maps = torch.rand(3, 3, 8, 8), torch.rand(3, 1, 8, 8).round(decimals=1)

    def explain(x):
        return net(x)[:, 1, None, None, None] * x[:, :1]

    together = road(net, images, maps, 1, noise=0.1, score='logit')
    changed = max_sensitivity(explain, images)
    for index in range(3):
        one = slice(index, index + 1)
        alone = road(net, images[one], maps[one], 1, noise=0.1, score='logit')
        torch.testing.assert_close(alone, together[one])
        torch.testing.assert_close(max_sensitivity(explain, images[one]), changed[one])


def test_road_leaves_the_model_alone(net, assert_untouched):
    net.train()
    check, x = assert_untouched(net), torch.randn(2, 3, 8, 8)
    road(net, x, torch.rand(2, 1, 8, 8), [0, 1])
    check()
    with pytest.raises(ValueError, match='2 maps and 1 targets'):
        road(net, x, torch.rand(2, 2, 8, 8), [0, 1])
    with pytest.raises(ValueError, match='shares must be between 0 and 1'):
        road(net, x, torch.rand(2, 1, 8, 8), 0, shares=[1.5])
    with pytest.raises(ValueError, match='NaN or infinite'):
        road(net, x, torch.full((2, 1, 8, 8), torch.nan), 0)


def test_sensitivity_worked_by_hand():
    """Maps are the images: the change is the noise; a scale cancels."""
    images = torch.zeros(1, 1, 100, 100)
    images[..., 50:] = 2  # range 2, norm 2 * 5000 ** 0.5
    found = max_sensitivity(lambda x: x, images, radius=0.1, samples=4)
    # uniform in (-0.2, 0.2): root mean square 0.2 / 3 ** 0.5
    expected = 100 * 0.2 / 3**0.5 / (2 * 5000**0.5)
    assert float(found) == pytest.approx(expected, rel=0.02)
    scaled = max_sensitivity(lambda x: 7 * x, images, radius=0.1, samples=4)
    torch.testing.assert_close(scaled, found)
    constant = max_sensitivity(lambda x: torch.ones_like(x), images)
    assert float(constant) == 0
    assert max_sensitivity(lambda x: 0 * x, images).isnan().all()
    with pytest.raises(ValueError, match='must be positive, got 0'):
        max_sensitivity(lambda x: x, images, samples=0)


def test_similarity_of_maps():
    maps = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(map_similarity(maps, maps.exp()), torch.ones(2, 3))
    torch.testing.assert_close(map_similarity(maps, -maps), -torch.ones(2, 3))
    assert map_similarity(maps, torch.ones_like(maps)).abs().max() == 0
    with pytest.raises(ValueError, match='cannot be compared'):
        map_similarity(maps, maps[:1])


def test_max_sensitivity_is_equal_to_captum():
    metrics = pytest.importorskip('captum.metrics', reason='captum is not installed')
    torch.manual_seed(0)
    images = torch.rand(1, 2, 8, 8)
    span = images.amax() - images.amin()

    def explain(inputs):
        if isinstance(inputs, tuple):  # by captum
            return tuple(map(explain, inputs))
        return inputs.square().sum(1, keepdim=True)

    def changed(inputs):
        """Change the inputs (num_samples, C, H, W) as ``max_sensitivity`` does."""
        generator = torch.Generator().manual_seed(3)
        drawn = [
            torch.rand(images.shape, generator=generator) for _ in range(len(inputs))
        ]
        return inputs + 0.05 * span * (2 * torch.cat(drawn) - 1)

    expected = metrics.sensitivity_max(
        explain, images, perturb_func=changed, n_perturb_samples=6
    )
    found = max_sensitivity(explain, images, radius=0.05, samples=6, seed=3)
    torch.testing.assert_close(found[0], expected)


def test_map_similarity_is_equal_to_quantus():
    quantus = pytest.importorskip('quantus', reason='Quantus is not installed')
    torch.manual_seed(0)
    maps, others = torch.randn(2, 3, 1, 6, 6)
    others = (maps + others).round(decimals=1)  # with ties
    expected = quantus.similarity_func.correlation_spearman(
        maps.flatten(1).numpy(), others.flatten(1).numpy(), batched=True
    )
    np.testing.assert_allclose(map_similarity(maps, others)[:, 0], expected, atol=1e-6)
