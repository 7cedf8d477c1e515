import math

import pytest
import torch
from torch.autograd import gradcheck

from mmlesion.models.layers import (
    AttentionPooling,
    ContextualAttention,
    SpatialAttention,
    max_softmax,
)
from mmlesion.models.necks import ContextNeck


def softmax_over_max(logits, dim, temperature):
    """Eqs. 2-3 and 6-7 of the paper, implemented literally."""
    exp = (logits / temperature).exp()
    weights = exp / exp.sum(dim, keepdim=True)
    return weights / weights.amax(dim, keepdim=True)


def test_hand_worked():
    """Logits 0, ln 2, ln 4: softmax 1/7, 2/7, 4/7, over its maximum 4/7."""
    logits = torch.tensor([0.0, math.log(2), math.log(4)])
    expected = torch.tensor([1 / 4, 1 / 2, 1.0])
    torch.testing.assert_close(max_softmax(logits, 0), expected)
    # T = 2 takes the square root of each weight
    torch.testing.assert_close(max_softmax(logits, 0, 2.0), expected.sqrt())


@pytest.mark.parametrize('dim', [1, (-2, -1)])
@pytest.mark.parametrize('temperature', [1.0, 2.0, 3.0])
def test_equals_softmax_over_max(dim, temperature):
    x = torch.randn(2, 3, 4, 5, 6, dtype=torch.double, requires_grad=True)
    ours = max_softmax(x, dim, temperature)
    theirs = softmax_over_max(x, dim, temperature)
    torch.testing.assert_close(ours, theirs)
    grad = torch.randn_like(x)
    (ours,) = torch.autograd.grad(ours, x, grad)
    (theirs,) = torch.autograd.grad(theirs, x, grad)
    torch.testing.assert_close(ours, theirs)


def test_gradient():
    x = torch.randn(2, 3, 2, 3, 2, dtype=torch.double, requires_grad=True)
    assert gradcheck(lambda x: max_softmax(x, 1, 2.0), x)
    assert gradcheck(lambda x: max_softmax(x, (-2, -1), 3.0), x)


def test_no_overflow_in_half_precision():
    x = torch.tensor([6e4, 0.0, -6e4], dtype=torch.half)
    assert max_softmax(x, 0).tolist() == [1, 0, 0]


def test_ties_share_the_gradient():
    """Two equal maxima, weight of the third 1/e: each gets half of -1/e."""
    x = torch.tensor([1.0, 1.0, 0.0], requires_grad=True)
    max_softmax(x, 0)[2].backward()
    expected = torch.tensor([-0.5, -0.5, 1.0]) / math.e
    torch.testing.assert_close(x.grad, expected)


@pytest.mark.parametrize('temperature', [0, -1, float('nan')])
def test_bad_temperature(temperature):
    with pytest.raises(ValueError, match='temperature must be above 0'):
        max_softmax(torch.zeros(3), 0, temperature)


def randomized(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def test_contextual_against_a_loop():
    layer = randomized(ContextualAttention(4))
    x = torch.randn(2, 3, 4, 5, 6)
    out = layer(x)
    logits = torch.stack([layer.conv(x[:, i]) for i in range(3)], 1).detach()
    for n, d, h, w in [(0, 0, 0, 0), (1, 3, 4, 5), (1, 2, 2, 3)]:
        vector = logits[n, :, d, h, w]
        for i in range(3):
            weight = math.exp((vector[i] - vector.max()) / 2)
            assert out[n, i, d, h, w].item() == pytest.approx(
                weight * x[n, i, d, h, w].item(), rel=1e-4
            )


def test_spatial_against_a_loop():
    layer = randomized(SpatialAttention(4))
    x = torch.randn(2, 4, 5, 6)
    out, logits = layer(x), layer.conv(x).detach()
    for n, d, h, w in [(0, 0, 0, 0), (1, 3, 4, 5), (1, 2, 2, 3)]:
        weight = math.exp((logits[n, d, h, w] - logits[n, d].max()) / 3)
        assert out[n, d, h, w].item() == pytest.approx(
            weight * x[n, d, h, w].item(), rel=1e-4
        )


def test_untrained_attention_is_the_identity():
    x = torch.randn(2, 3, 4, 5, 6)
    torch.testing.assert_close(ContextNeck(4)(x), x)


def test_spatial_of_a_stack_is_spatial_of_each_image():
    layer = randomized(SpatialAttention(4))
    x = torch.randn(2, 3, 4, 5, 6)
    each = torch.stack([layer(x[:, i]) for i in range(3)], 1)
    torch.testing.assert_close(layer(x), each)


def test_masked_padding_changes_nothing():
    """An image padded by 2 rows and 3 columns is attended as without them."""
    neck = randomized(ContextNeck(4))
    x = torch.randn(1, 3, 4, 5, 6)
    padded = torch.nn.functional.pad(x, (0, 3, 0, 2), value=100.0)
    mask = torch.zeros(1, 7, 9, dtype=torch.bool)
    mask[:, :5, :6] = True
    out = neck(padded, mask)
    torch.testing.assert_close(out[..., :5, :6], neck(x))
    assert out[..., 5:, :].abs().sum() == 0
    assert neck(padded)[..., :5, :6].sub(neck(x)).abs().max() > 0.1


@pytest.mark.parametrize('scale', [1, 1000])
def test_pooling_with_masked_padding(scale):
    """Padding does not change the mean, and large logits do not give NaN."""
    pooling = AttentionPooling(4, dict(type='mmlesion.SpatialAttention'))
    torch.nn.init.normal_(pooling.layer.conv.weight)
    x = scale * torch.randn(1, 3, 4, 5, 6)
    padded = torch.nn.functional.pad(x, (0, 3, 0, 2), value=100.0)
    mask = torch.zeros(1, 7, 9, dtype=torch.bool)
    mask[:, :5, :6] = True
    out = pooling(padded, mask)
    assert out.isfinite().all()
    torch.testing.assert_close(out[..., :5, :6], pooling(x))
    assert out[..., 5:, :].abs().sum() == 0


def test_neck_gives_the_weights_it_uses():
    neck = randomized(ContextNeck(4))
    x = torch.randn(2, 3, 4, 5, 6)
    weights = neck.attention(x)
    torch.testing.assert_close(neck(x), x * weights['contextual'] * weights['spatial'])
    assert ContextNeck(4, contextual=None).attention(x)['contextual'] is None
    assert ContextNeck(4, spatial=None).attention(x)['spatial'] is None


def test_wrong_shapes():
    with pytest.raises(ValueError, match=r'\(N, M, C, H, W\)'):
        ContextualAttention(4)(torch.zeros(2, 4, 5, 6))
    with pytest.raises(ValueError, match='mask of shape'):
        SpatialAttention(4)(torch.zeros(2, 4, 5, 6), torch.ones(2, 5, 5) > 0)
