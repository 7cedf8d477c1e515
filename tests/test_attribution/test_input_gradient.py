"""Integrated Gradients and SmoothGrad, against captum where it is installed."""

import pytest
import torch
from torch import nn

from mmlesion.attribution import IntegratedGradients, SmoothGrad
from mmlesion.attribution.input_gradient import gauss_legendre


class Polynomial(nn.Module):
    """Scores of two pixels a, b: a^2 b and 3 a."""

    def forward(self, x):
        a, b = x[:, 0, 0, 0], x[:, 0, 0, 1]
        return torch.stack([a**2 * b, 3 * a], 1)


def test_integrated_gradients_worked_by_hand():
    """From 0 to (2, 3): a gets 2/3 and b 1/3 of 2*2*3 = 12; 3a is linear."""
    image = torch.tensor([[[[2.0, 3.0]]]])
    maps = IntegratedGradients(Polynomial(), steps=4)(image, [[0, 1]])
    assert maps.shape == (1, 2, 1, 2)
    torch.testing.assert_close(maps[0, :, 0], torch.tensor([[8.0, 4.0], [6.0, 0.0]]))


def test_they_sum_to_the_difference_of_both_scores(net):
    x = torch.randn(3, 3, 8, 10)
    classes = torch.tensor([[0, 3], [4, 4], [2, 1]])
    maps = IntegratedGradients(net, steps=200, baseline=0.3)(x, classes)
    start = torch.full_like(x, 0.3)
    expected = (net(x) - net(start)).gather(1, classes).detach()
    torch.testing.assert_close(maps.sum((2, 3)), expected, atol=2e-3, rtol=1e-2)


@pytest.mark.parametrize('batch_size', [1, 5, 100])
def test_memory_is_bounded_and_the_maps_do_not_depend_on_it(net, batch_size):
    x, sizes = torch.randn(2, 3, 8, 8), []
    whole = IntegratedGradients(net, steps=6)(x)
    handle = net.register_forward_hook(
        lambda module, inputs, output: sizes.append(len(inputs[0]))
    )
    maps = IntegratedGradients(net, steps=6, batch_size=batch_size)(x)
    handle.remove()
    assert max(sizes) <= batch_size
    # 12 points and the images themselves, whatever the number of classes
    assert sum(sizes) == 14
    torch.testing.assert_close(maps, whole)


def test_points_and_weights_integrate_polynomials_exactly():
    points, weights = gauss_legendre(3)
    for power in range(6):  # up to degree 2 n - 1
        integral = (weights * points**power).sum()
        assert float(integral) == pytest.approx(1 / (power + 1))


def test_integrated_gradients_are_those_of_captum(net, net3d):
    attr = pytest.importorskip('captum.attr', reason='captum is not installed')
    for model, x in (
        (net, torch.randn(3, 3, 8, 10)),
        (net3d, torch.randn(2, 3, 4, 6, 8)),
    ):
        target = torch.arange(len(x))
        expected = attr.IntegratedGradients(model).attribute(
            x, torch.zeros_like(x), target, n_steps=32
        )
        maps = IntegratedGradients(model, steps=32)(x, target)
        torch.testing.assert_close(
            maps[:, 0], expected.sum(1).float(), atol=1e-5, rtol=1e-4
        )


def test_smoothgrad_is_the_mean_gradient_of_noisy_copies(net):
    attr = pytest.importorskip('captum.attr', reason='captum is not installed')
    x = torch.randn(2, 3, 8, 8)
    maps = SmoothGrad(net, samples=3, noise=0.2, seed=5, batch_size=1)(x, 1)
    generator = torch.Generator().manual_seed(5)
    total = 0
    for _ in range(3):
        noise = torch.randn(x.shape[1:], generator=generator)
        span = torch.stack([image.max() - image.min() for image in x])
        noisy = x + 0.2 * span[:, None, None, None] * noise
        total += attr.Saliency(net).attribute(noisy, 1, abs=False).detach()
    torch.testing.assert_close(maps[:, 0], (total / 3).abs().sum(1))
    signed = SmoothGrad(net, samples=3, noise=0.2, seed=5, times_input=True)(x, 1)
    torch.testing.assert_close(signed[:, 0], (total / 3 * x).sum(1))


def test_no_noise_is_the_gradient(net):
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x)[:, 2].sum(), x)
    maps = SmoothGrad(net, samples=1, noise=0)(x, 2)
    torch.testing.assert_close(maps[:, 0], gradient.abs().sum(1))


def test_bad_input_is_one_sentence(net):
    x = torch.randn(2, 3, 8, 8)
    with pytest.raises(ValueError, match='steps must be positive'):
        IntegratedGradients(net, steps=0)
    with pytest.raises(ValueError, match='noise at least 0'):
        SmoothGrad(net, noise=-1)
    with pytest.raises(TypeError, match='must be one floating-point tensor .* tuple'):
        IntegratedGradients(net)((x,), 0)
    with pytest.raises(ValueError, match=r'baseline of shape \(7,\) does not'):
        IntegratedGradients(net, baseline=torch.zeros(7))(x, 0)
    with pytest.raises(ValueError, match='target 9 is out of range'):
        IntegratedGradients(net)(x, 9)
    with pytest.raises(ValueError, match='returned 1 scores for 2 images'):
        SmoothGrad(net)(x, lambda output: output.sum())
    with pytest.raises(ValueError, match='does not depend on the input'):
        SmoothGrad(net)(x, lambda output: output.detach()[:, 0])
